//! Datagrams in and replies out: the UDP sockets, the workers' loop and the replies that are held back.
//!
//! A worker thread owns one [`Socket`] and [`run`]s it: batches in, one [`Arrival`] after the other to the
//! handler.
//! Replies go through an [`Outbound`], from whatever thread has them, and leave from the address that was asked.
//! Rejects wait in a [`Hold`] until their time. Nothing here knows RADIUS.

mod address;
mod hold;
mod kernel;
mod outbound;
mod socket;
mod traffic;
mod worker;

#[cfg(test)]
mod tests;

pub use address::{Arrival, ReturnAddress, SocketNumber};
pub use hold::{Hold, Refused};
pub use outbound::{Departures, Outbound};
pub use socket::{BindError, Socket, Sockets};
pub use traffic::Traffic;
pub use worker::{Pulse, Received, Stop, run};
