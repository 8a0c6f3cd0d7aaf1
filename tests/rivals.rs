//! Acts at the same time, and acts that are cut off: somebody wins cleanly, and nobody ever has two tokens or none.

use crate::harness::PASSWORD;
use crate::harness::branch::{Branch, Ended, member, stock};
use std::time::Duration;

const SERVICE: &str = "shinkin-personal";

/// Runs commands at the same time.
fn together(branch: &Branch, commands: &[(Vec<&str>, Vec<&str>)]) -> Vec<Ended> {
    std::thread::scope(|scope| {
        let running: Vec<_> =
            commands.iter().map(|(arguments, lines)| scope.spawn(|| branch.run(arguments, lines))).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn s_02_s_16_of_many_who_register_one_token_with_one_code_one_gets_it() {
    let names: Vec<String> = (0..6).map(|n| format!("user{n}")).collect();
    let people = names.iter().map(|name| member(name, "P-1", "general", &[])).collect();
    let token = stock("INV-0001", 6, 30);
    let branch = Branch::open_with(people, std::slice::from_ref(&token), |builder| builder);
    branch.enable("P-1", SERVICE);
    let code = branch.code(&token, 0);
    let commands: Vec<_> = names
        .iter()
        .map(|name| {
            let arguments = vec!["token", "register", "--user", name.as_str(), "--serial", "INV-0001"];
            (arguments, vec![code.as_str(), PASSWORD])
        })
        .collect();
    let ended = together(&branch, &commands);
    let won = ended.iter().filter(|one| one.code == Some(0)).count();
    let told: Vec<_> = ended.iter().map(|one| one.told.as_str()).collect();
    assert_eq!(won, 1, "{told:?}");
    assert!(ended.iter().all(|one| matches!(one.code, Some(0 | 1))), "{told:?}");
    let holders = names.iter().filter(|name| !branch.tokens(name).is_empty()).count();
    assert_eq!(holders, 1);
}

#[test]
fn operators_at_the_same_token_lose_cleanly() {
    let branch = Branch::open(vec![member("taro", "C-1", "general", &[])]);
    branch.enable("C-1", "kenshin-business");
    let token = branch.active("taro");
    let serial = token.serial.as_str();
    for _ in 0..3 {
        let suspend = (vec!["token", "suspend", serial], vec![]);
        let ended = together(&branch, &[suspend.clone(), suspend.clone(), suspend.clone(), suspend]);
        let told: Vec<_> = ended.iter().map(|one| one.told.as_str()).collect();
        assert_eq!(ended.iter().filter(|one| one.code == Some(0)).count(), 1, "{told:?}");
        assert_eq!(branch.state(serial), "suspended");
        let _ = branch.done(&["token", "resume", serial], &[]);
    }
    let ended = together(
        &branch,
        &[(vec!["token", "revoke", serial], vec![]), (vec!["token", "suspend", serial], vec![])],
    );
    assert!(ended.iter().any(|one| one.code == Some(0)));
    let state = branch.state(serial);
    assert!(ended[0].code != Some(0) || state == "revoked", "what was revoked stays so: {state}");
    let acts = branch.acts();
    let begun = acts.iter().filter(|act| act.1 == "begun").count();
    let over = acts.iter().filter(|act| act.1 == "done").count();
    assert!(begun >= over, "{acts:?}");
}

#[test]
fn s_21_a_kill_at_any_moment_of_an_exchange_leaves_one_usable_token() {
    let tokens: Vec<_> = (0..9).map(|n| stock(&format!("INV-{n:04}"), 6, 30)).collect();
    let people = vec![member("hanako", "P-1", "general", &[])];
    let mut branch = Branch::open_with(people, &tokens, |builder| builder);
    branch.enable("P-1", SERVICE);
    let register = ["token", "register", "--user", "hanako", "--serial", "INV-0000"];
    let _ = branch.done(&register, &[&branch.code(&tokens[0], 0), PASSWORD]);
    branch.reopen_later(60);
    let mut old = 0;
    let mut moved = 0;
    for new in 1..tokens.len() {
        let serial = tokens[new].serial.as_str();
        let codes = [branch.code(&tokens[old], 0), branch.code(&tokens[new], 0)];
        std::thread::scope(|scope| {
            let asking = &branch;
            let exchange = ["token", "exchange", "--user", "hanako", "--serial", serial];
            scope.spawn(move || asking.run(&exchange, &[&codes[0], &codes[1]]));
            std::thread::sleep(Duration::from_millis(8 * u64::try_from(new).unwrap()));
            branch.world.daemon.signal("KILL");
        });
        branch.killed_and_reopened_later(60);
        let active: Vec<String> = branch
            .tokens("hanako")
            .into_iter()
            .filter(|(_, state)| state == "active")
            .map(|(serial, _)| serial)
            .collect();
        assert_eq!(active.len(), 1, "neither none nor two: {active:?}");
        if active[0] == serial {
            (old, moved) = (new, moved + 1);
        }
        let gateway = branch.gateway(SERVICE);
        let login =
            |at: usize| gateway.operation("hanako", &branch.code(&tokens[at], -30), "transfer").is_accept();
        assert!(login(old), "the one that the entry refers to works");
        let others = (0..=new).filter(|at| *at != old);
        assert!(others.into_iter().all(|at| !login(at)), "and no other");
        let _ = branch.done(&["user", "release", "hanako", "--by", "counter"], &[]);
        branch.reopen_later(60);
    }
    assert!(moved < tokens.len(), "{moved} exchanges came through");
}
