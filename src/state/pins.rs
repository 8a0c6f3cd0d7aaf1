//! Sources that have once sent a valid Message-Authenticator, and from which nothing unsigned is taken any more.
//!
//! This is how `message-authenticator = "auto"` only ever tightens (RAD-21): a pin needs a signature that verified, so
//! only a holder of the secret can set one, and nothing sent over the network can lift it.

use ahash::RandomState;
use dashmap::DashSet;
use std::net::IpAddr;

/// The most pins kept; a client network larger than this is not what `auto` is for.
pub const CAPACITY: usize = 65_536;

/// The pinned sources.
#[derive(Default)]
pub struct Pins(DashSet<IpAddr, RandomState>);

impl Pins {
    /// Whether the source must sign.
    pub fn is_pinned(&self, source: IpAddr) -> bool {
        self.0.contains(&source)
    }

    /// Pins a source; `true` if it was not pinned before, and the pin must become durable.
    pub fn pin(&self, source: IpAddr) -> bool {
        self.0.len() < CAPACITY && self.0.insert(source)
    }

    /// Takes a pin back that never became durable: the next signed request sets it again.
    pub fn unpin(&self, source: IpAddr) {
        self.0.remove(&source);
    }

    /// Hands every pin to `sink`.
    pub fn each(&self, mut sink: impl FnMut(IpAddr)) {
        for source in self.0.iter() {
            sink(*source);
        }
    }

    /// How many sources are pinned.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no source is pinned.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
