//! Tokens that were made before: registered by their serial number, exchanged, given up (P-C).

use crate::harness::branch::{Branch, member, stock};
use crate::harness::{PASSWORD, Seed, slapd};

const SERVICE: &str = "shinkin-personal";

/// A person of a personal contract, and three tokens in the inventory.
fn persons() -> (Branch, [Seed; 3]) {
    let tokens = ["INV-0001", "INV-0002", "INV-0003"].map(|serial| stock(serial, 6, 30));
    let people = vec![member("hanako", "P-1", "general", &[]), member("taro", "P-2", "general", &[])];
    let branch = Branch::open_with(people, &tokens, |builder| builder);
    branch.enable("P-1", SERVICE);
    branch.enable("P-2", SERVICE);
    (branch, tokens)
}

/// The token that a user's entry refers to, as slapd has it.
fn reference(branch: &Branch, user: &str) -> Vec<String> {
    let ldif = branch.world.slapd.dump().replace("\n ", "");
    let dn = format!("dn: {}\n", slapd::user_dn(user));
    let entry = ldif.split("\n\n").find(|entry| entry.contains(&dn)).unwrap_or_default();
    entry.lines().filter_map(|line| line.strip_prefix("oathTOTPToken: ")).map(str::to_owned).collect()
}

#[test]
fn s_16_serial_number_code_password_and_the_choice_for_login_are_bound_together() {
    let (branch, [first, second, _]) = persons();
    let gateway = branch.gateway(SERVICE);
    assert!(
        gateway.operation("hanako", PASSWORD, "transfer").is_accept(),
        "the confirmation password until then"
    );
    let list = branch.json(&["token", "list", "--state", "inventory"], &[]);
    assert_eq!(list.as_array().unwrap().len(), 3);
    assert!(list[0]["user"].is_null() && list[0]["digits"] == 6 && list[0]["period"] == 30);

    let register =
        |serial| ["token", "register", "--user", "hanako", "--serial", serial, "--login-code", "required"];
    let code = branch.code(&first, -30);
    let _ = branch.refused(&register("INV-9999"), &[&code, PASSWORD], 1, "token-unknown");
    let _ = branch.refused(&register("INV 1"), &[&code, PASSWORD], 1, "value");
    let _ = branch.refused(&register("INV-0002"), &[&code, PASSWORD], 1, "code-wrong");
    let _ = branch.refused(&register("INV-0001"), &[&first.wrong_code(), PASSWORD], 1, "code-wrong");
    let _ = branch.refused(&register("INV-0001"), &[&code, "wrong"], 1, "password-wrong");
    assert_eq!((reference(&branch, "hanako").len(), branch.state("INV-0001").as_str()), (0, "inventory"));
    let _ = branch.refused(&register("INV-0001"), &[&code, PASSWORD], 1, "code-used");
    let code = branch.code(&first, 0);
    let _ = branch.done(&register("INV-0001"), &[&code, PASSWORD]);
    assert_eq!(branch.state("INV-0001"), "active");
    assert!(gateway.operation("hanako", &code, "transfer").is_reject(), "the code is used up (S-02)");
    assert!(
        gateway.operation("hanako", PASSWORD, "transfer").is_reject(),
        "the code has taken its place (S-04)"
    );
    assert!(gateway.operation("hanako", &branch.code(&first, 30), "transfer").is_accept());
    assert!(
        gateway.operation("hanako", "", "login").is_reject(),
        "login asks for a code: the user's own choice"
    );
    let _ = branch.done(&["user", "login-code", "hanako", "not-required"], &[]);
    assert!(gateway.operation("hanako", "x", "login").is_accept());
    let _ = branch.refused(&register("INV-0002"), &[&branch.code(&second, 0), PASSWORD], 1, "token-there");
    let taro = ["token", "register", "--user", "taro", "--serial", "INV-0001"];
    let _ = branch.refused(&taro, &[&branch.code(&first, 30), PASSWORD], 1, "token-not-free");
}

#[test]
fn s_21_the_old_token_works_until_the_new_one_is_registered_and_never_after() {
    let (branch, [old, new, third]) = persons();
    let gateway = branch.gateway(SERVICE);
    let register = ["token", "register", "--user", "hanako", "--serial", "INV-0001"];
    let _ = branch.done(&register, &[&branch.code(&old, -30), PASSWORD]);
    let exchange = |serial| ["token", "exchange", "--user", "hanako", "--serial", serial];
    let new_code = branch.code(&new, -30);
    let _ = branch.refused(&exchange("INV-0002"), &[&old.wrong_code(), &new_code], 1, "code-wrong");
    let _ =
        branch.refused(&exchange("INV-0002"), &[&branch.code(&old, 0), &new.wrong_code()], 1, "code-wrong");
    let _ = branch.refused(&exchange("INV-0001"), &[&branch.code(&old, 0), &new_code], 1, "token-not-free");
    assert_eq!(branch.state("INV-0002"), "inventory", "a refusal changes nothing");

    let _ = branch.done(&exchange("INV-0002"), &[&branch.code(&old, 0), &new_code]);
    assert!(gateway.operation("hanako", &branch.code(&old, 30), "transfer").is_reject(), "never after");
    let tokens = branch.tokens("hanako");
    assert!(tokens.contains(&("INV-0002".into(), "active".into())), "{tokens:?}");
    assert!(tokens.contains(&("INV-0001".into(), "replaced".into())), "{tokens:?}");

    // Taken back before the new one was used: the old one works again, the new one is free.
    let undo = ["token", "exchange", "--user", "hanako", "--undo"];
    let _ = branch.done(&undo, &[]);
    assert_eq!(branch.state("INV-0002"), "inventory");
    let _ = branch.refused(&undo, &[], 1, "nothing-to-undo");
    assert!(gateway.operation("hanako", &branch.code(&new, 0), "transfer").is_reject());
    assert!(gateway.operation("hanako", &branch.code(&old, 30), "transfer").is_accept());

    // Used once, the exchange stands.
    let mut later = branch;
    later.reopen_later(120);
    let gateway = later.gateway(SERVICE);
    let codes = [later.code(&old, 0), later.code(&third, -30)];
    let _ = later.done(&exchange("INV-0003"), &[&codes[0], &codes[1]]);
    assert!(gateway.operation("hanako", &later.code(&third, 0), "transfer").is_accept());
    let _ = later.refused(&undo, &[], 1, "new-token-used");
    let dn = slapd::token_dn("INV-0003");
    assert_eq!(reference(&later, "hanako"), [dn], "one token, and one only");
}

#[test]
fn s_22_after_the_stop_of_use_operations_ask_for_the_confirmation_password_again() {
    let (branch, [token, ..]) = persons();
    let gateway = branch.gateway(SERVICE);
    let register = ["token", "register", "--user", "hanako", "--serial", "INV-0001"];
    let _ = branch.done(&register, &[&branch.code(&token, -30), PASSWORD]);
    let stop = ["token", "stop", "--user", "hanako", "--as", "user:hanako"];
    let _ = branch.refused(&stop, &["", PASSWORD], 77, "code-missing");
    let _ = branch.refused(&stop, &[&token.wrong_code(), PASSWORD], 77, "code-wrong");
    assert!(gateway.operation("hanako", PASSWORD, "transfer").is_reject());
    let other = ["token", "stop", "--user", "hanako", "--as", "user:taro"];
    let _ = branch.refused(&other, &["000000", PASSWORD], 77, "may-not");
    let _ = branch.done(&stop, &[&branch.code(&token, 0), PASSWORD]);
    assert!(gateway.operation("hanako", PASSWORD, "transfer").is_accept());
    assert!(gateway.operation("hanako", &branch.code(&token, 30), "transfer").is_reject());
    assert_eq!((reference(&branch, "hanako").len(), branch.state("INV-0001").as_str()), (0, "revoked"));
    let _ = branch.refused(&["token", "stop", "--user", "hanako"], &[], 1, "no-token");
}
