//! The daemon as its users see it: every file tells one story with the built binary, a real directory and a real
//! gateway. Names of tests carry the ids of the requirements they show.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::type_complexity,
    reason = "what goes wrong here has to stop the run, and it is about real time"
)]

mod audit;
mod challenge;
mod clients;
mod cluster;
mod cluster_run;
mod codes;
mod crash;
mod directory_down;
mod disk;
mod engines;
mod flood;
mod formats;
mod four_eyes;
mod harness;
mod http_api;
mod import_users;
mod independent;
mod inventory;
mod killed;
mod layouts;
mod ldap;
mod life;
mod lockout;
mod login;
mod long_lists;
mod operate;
mod operations;
mod own_users;
mod passwords;
mod real_disk;
mod refusals;
mod registry;
mod replay;
mod retransmission;
mod rivals;
mod services_doc;
mod signature;
mod silence;
mod state_tools;
mod status_server;
mod two_nodes;
mod wire;
