//! A gateway logs users in: password and code in one field.

use crate::harness::{World, at_step_begin};

#[test]
fn rad_01_password_and_code_are_accepted_once() {
    let world = World::open();
    at_step_begin(30, 5);
    let field = world.token("alice", 0).field(0);
    assert!(world.gateway.login("alice", &field).is_accept());
    assert!(world.gateway.login("alice", &field).is_reject(), "a code counts once");
    assert_eq!(world.daemon.reason("code-accepted"), 1.0);
    assert_eq!(world.daemon.reason("code-used"), 1.0);
}

#[test]
fn s_02_freeradius_own_client_is_accepted_once() {
    let world = World::open();
    at_step_begin(30, 5);
    let field = world.token("alice", 0).field(0);
    let request =
        format!("User-Name = \"alice\"\nUser-Password = \"{field}\"\nMessage-Authenticator = 0x00\n");
    assert_eq!(world.gateway.radclient(&request), "Access-Accept");
    assert_eq!(world.gateway.radclient(&request), "Access-Reject");
}
