//! The wire: packets, attributes, signatures, requests and replies.
//!
//! ```text
//! datagram ─ Packet::peek ─▶ Header                    who asks, before anything is looked at
//!          ─ Packet::parse_request ─▶ Packet           Length, Code, attributes that tile
//!          ─ Request::receive ─▶ Request               Message-Authenticator demanded, present, right
//!          ─ Request::credential ─▶ Credential         one User-Name, one User-Password, at most one State
//!          ─ ReplyTo::new ─▶ ReplyTo                   what is needed to answer later
//!          ─ reply::encode ─▶ octets                   Message-Authenticator first, Proxy-State last
//! ```
//!
//! Everything borrows from the datagram; nothing is allocated but a long reply and the Proxy-State that waits for it.
//! Who is configured, what is a duplicate and what is in flight are not known here. [`client`] is the asking side.

pub mod authenticator;
pub mod client;
pub mod dictionary;
mod draft;
mod octets;
pub mod packet;
pub mod reply;
pub mod request;

pub use authenticator::SharedSecret;
pub use dictionary::AttributeName;
pub use octets::PacketOctets;
pub use packet::{Attribute, Header, Packet};
pub use reply::{ReplyContent, ReplyTo, encode};
pub use request::{
    Credential, Demand, Kind, Pinned, ProxyState, Request, Secrets, Signature, SignaturePolicy, StatusServer,
    WhichSecret,
};

#[cfg(test)]
mod tests;
