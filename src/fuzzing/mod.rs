//! Entry points of the fuzz targets: any octets in, and what must hold whatever they are.
//!
//! Only built with the feature `fuzzing`. Clocks, keys and random octets are fixed, so that one input has one result.

mod config;
mod filter;
mod formats;
mod handle;
mod record;
mod wire;

pub use config::config;
pub use filter::filter;
pub use formats::formats;
pub use handle::handle;
pub use record::record;
pub use wire::{packet, roundtrip};

use crate::radius::{Attribute, Secrets, SharedSecret};
use crate::secret::Secret;

/// The input of a target, taken from the front. What is not there any more reads as zero or empty.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, octets: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(octets).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }

    fn octet(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.octet())
    }

    /// Type, length and value; `None` at the end.
    fn attribute(&mut self) -> Option<Attribute<'a>> {
        (!self.0.is_empty()).then(|| {
            let (kind, length) = (self.octet(), self.octet());
            Attribute { kind, value: self.take(usize::from(length).min(253)) }
        })
    }
}

fn secrets() -> Option<Secrets> {
    let current = SharedSecret::new(Secret::new(*b"9fJ2-kQ7_vT4.xL8~bN1+wR6=yH3!pD5"))?;
    Some(Secrets { current, next: None })
}
