//! A gateway logs users in: password and code in one field.

use crate::harness::{PASSWORD, World, WorldBuilder, at_step_begin, person};
use std::sync::Barrier;

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

#[test]
fn s_02_who_logs_in_together_gets_each_their_own_answer() {
    const PEOPLE: usize = 60;
    for durability in ["memory", "sync"] {
        let people = (0..PEOPLE).map(|number| person(&format!("user{number}"), &[(6, 60)])).collect();
        let world = WorldBuilder { durability, ..WorldBuilder::of(people) }.open();
        at_step_begin(60, 20);
        let start = Barrier::new(PEOPLE);
        std::thread::scope(|scope| {
            for (number, person) in world.people.iter().enumerate() {
                let (world, start) = (&world, &start);
                scope.spawn(move || {
                    let code = person.tokens[0].code(0);
                    let password = if number % 3 == 0 { "wrong" } else { PASSWORD };
                    let gateway = world.second_gateway();
                    let request = gateway.request(&person.name, format!("{password}{code}").as_bytes());
                    start.wait();
                    let reply = gateway.ask(&request);
                    assert_eq!(reply.is_accept(), number % 3 != 0, "{}: {durability}", person.name);
                });
            }
        });
        assert_eq!(world.daemon.reason("code-accepted"), 40.0, "{durability}");
        assert_eq!(world.daemon.reason("password-wrong"), 20.0, "{durability}");
        for person in &world.people {
            assert_eq!(world.binds(&person.name), 1, "{durability}");
        }
    }
}
