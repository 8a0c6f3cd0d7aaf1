//! What the daemon remembers, shared between threads.
