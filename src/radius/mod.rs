//! The wire: packets, attributes, signatures, requests and replies.
