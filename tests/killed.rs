//! Acts that are cut off by a kill between any two of their steps: afterwards nobody has two tokens, nobody lacks the
//! one that they should have, and the same command again brings the act to its end.

use crate::harness::branch::{Branch, Ended, member};
use crate::harness::daemon::write;
use crate::harness::world::hex;
use crate::harness::{PASSWORD, Seed};
use std::time::{Duration, Instant};

const PERSONS: &str = "shinkin-personal";
const COMPANIES: &str = "shiga-business";

/// How many kills each act gets.
const KILLS: usize = 6;

/// How much later each of them comes: between two kills lies less than one change of the directory takes.
const APART: Duration = Duration::from_micros(400);

/// When the daemon is killed.
enum When {
    /// So long after the act stands in the evidence as begun: its changes of the directory follow.
    Begun(Duration),
    /// So long after the command was started.
    Started(Duration),
}

/// People with tokens that are in service, one for each kill.
struct Bank {
    branch: Branch,
    names: Vec<String>,
    tokens: Vec<Seed>,
}

impl Bank {
    fn open(service: &str, digits: u32, period: u32, more: &str) -> Bank {
        let names: Vec<String> = (0..KILLS).map(|n| format!("u{n}")).collect();
        let people = names.iter().map(|name| member(name, "C-1", "general", &[])).collect();
        let branch = Branch::open(people);
        branch.enable("C-1", service);
        let key = |n: usize| hex(&[u8::try_from(n).unwrap() + 1; 20]);
        let tokens: Vec<Seed> =
            (0..KILLS).map(|n| Seed::new(&format!("K-{n}"), &key(n), digits, period)).collect();
        let bank = Bank { branch, names, tokens };
        if !more.is_empty() {
            let path = bank.file(more);
            let _ = bank.branch.done(&["token", "import", &path, "--format", "csv", "--bind"], &[]);
        }
        bank
    }

    /// All tokens with their users as a file; `more` is what stands in the last column.
    fn file(&self, more: &str) -> String {
        let mut text = "serial,secret-hex,digits,period,user,ends\n".to_owned();
        for (name, token) in self.names.iter().zip(&self.tokens) {
            let Seed { serial, secret_hex, digits, period, .. } = token;
            text +=
                &format!("{serial},{secret_hex},{digits},{period},{name},{}\n", more.trim_start_matches('-'));
        }
        write(self.branch.world.directory.path(), "keys.csv", &text).to_str().unwrap().to_owned()
    }

    /// Runs a command whose daemon is killed meanwhile, and opens again a minute later.
    fn cut_off(&mut self, arguments: &[&str], lines: &[&str], when: When) -> Ended {
        let audit = self.branch.world.directory.path().join("audit.jsonl");
        let begun = |text: &str| text.matches("\"outcome\":\"begun\"").count();
        let before = begun(&std::fs::read_to_string(&audit).unwrap());
        let asking = &self.branch;
        let ended = std::thread::scope(|scope| {
            let command = scope.spawn(move || asking.run(arguments, lines));
            match when {
                When::Started(after) => std::thread::sleep(after),
                When::Begun(after) => {
                    while begun(&std::fs::read_to_string(&audit).unwrap()) == before && !command.is_finished()
                    {
                        std::hint::spin_loop();
                    }
                    std::thread::sleep(after);
                }
            }
            asking.world.daemon.signal("KILL");
            command.join().unwrap()
        });
        self.branch.killed_and_reopened_later(60);
        ended
    }

    /// The state of the user's token, of which there is one at most; and the token works exactly if it is active.
    fn state(&self, user: usize, service: &str) -> Option<String> {
        let tokens = self.branch.tokens(&self.names[user]);
        assert!(tokens.len() <= 1, "{tokens:?}");
        let state = tokens.into_iter().next().map(|(_, state)| state);
        let works = self.works(user, service, -i64::from(self.tokens[user].period));
        assert_eq!(works, state.as_deref() == Some("active"), "user {user}: {state:?}");
        state
    }

    fn works(&self, user: usize, service: &str, offset: i64) -> bool {
        let code = self.branch.code(&self.tokens[user], offset);
        let field = if service == PERSONS { code } else { format!("{PASSWORD}{code}") };
        self.branch.gateway(service).operation(&self.names[user], &field, "transfer").is_accept()
    }
}

/// Moments after the beginning of an act.
fn moments() -> impl Iterator<Item = Duration> {
    (0..).map(|n| APART * n).take(KILLS)
}

/// The states that were found after the kills, so that a run which never hit anything shows.
fn told(act: &str, found: &[Option<String>]) {
    let words: Vec<&str> = found.iter().map(|state| state.as_deref().unwrap_or("none")).collect();
    println!("{act}: {}", words.join(" "));
}

/// Each of these acts on a token, cut off: from this state, to that one, by this command.
fn acts_on_a_token(verb: &str, from: &str, to: &str) {
    let mut bank = Bank::open(PERSONS, 6, 30, "-");
    let mut found = Vec::new();
    for (user, after) in moments().enumerate() {
        let serial = bank.tokens[user].serial.clone();
        if from == "suspended" {
            let _ = bank.branch.done(&["token", "suspend", &serial], &[]);
        }
        let command = ["token", verb, &serial];
        let ended = bank.cut_off(&command, &[], When::Begun(after));
        let state = bank.state(user, PERSONS);
        let is = state.as_deref().unwrap_or_default();
        assert!(is == from || is == to, "{verb}: {is}");
        assert!(ended.code != Some(0) || is == to, "what was said to be done is done: {is}");
        // Once more: to the end, or told that it is there.
        let again = bank.branch.run(&command, &[]);
        assert_eq!(again.code == Some(0), is == from, "{}{}", again.out, again.told);
        assert_eq!(bank.branch.state(&serial), to);
        assert_eq!(bank.works(user, PERSONS, 0), to == "active", "{verb}");
        found.push(state);
    }
    told(verb, &found);
}

#[test]
fn s_19_a_revocation_that_is_cut_off_is_made_or_not() {
    acts_on_a_token("revoke", "active", "revoked");
}

#[test]
fn s_23_a_suspension_that_is_cut_off_is_made_or_not() {
    acts_on_a_token("suspend", "active", "suspended");
}

#[test]
fn s_23_a_resumption_that_is_cut_off_is_made_or_not() {
    acts_on_a_token("resume", "suspended", "active");
}

#[test]
fn s_22_after_a_stop_that_is_cut_off_the_code_counts_or_the_password_does() {
    let mut bank = Bank::open(PERSONS, 6, 30, "-");
    let mut found = Vec::new();
    for (user, after) in moments().enumerate() {
        let name = bank.names[user].clone();
        let stop = ["token", "stop", "--user", &name];
        let _ = bank.cut_off(&stop, &[], When::Begun(after));
        let state = bank.state(user, PERSONS);
        let password =
            |bank: &Bank| bank.branch.gateway(PERSONS).operation(&name, PASSWORD, "transfer").is_accept();
        assert_eq!(password(&bank), state.is_none(), "{state:?}");
        let again = bank.branch.run(&stop, &[]);
        assert_eq!(again.code == Some(0), state.is_some(), "{}{}", again.out, again.told);
        assert!(password(&bank) && !bank.works(user, PERSONS, 0));
        found.push(state);
    }
    told("stop", &found);
}

#[test]
fn s_24_a_renewal_that_is_cut_off_leaves_the_old_end_or_the_new_one() {
    let soon = i64::try_from(crate::harness::unix_now()).unwrap() + 20 * 86_400;
    let soon = jiff::Timestamp::from_second(soon).unwrap().to_string();
    let mut bank = Bank::open(COMPANIES, 8, 60, &soon);
    let mut found = Vec::new();
    for (user, after) in moments().enumerate() {
        let serial = bank.tokens[user].serial.clone();
        let ends = |bank: &Bank| {
            let shown = bank.branch.json(&["token", "show", &serial], &[]);
            shown["ends"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
        };
        let before = ends(&bank);
        let _ = bank.cut_off(&["token", "renew", &serial], &[], When::Begun(after));
        assert_eq!(bank.state(user, COMPANIES).as_deref(), Some("active"));
        let renewed = ends(&bank) > before;
        assert!(renewed || ends(&bank) == before);
        let again = bank.branch.run(&["token", "renew", &serial], &[]);
        assert_eq!(again.code == Some(0), !renewed, "{}{}", again.out, again.told);
        assert!(ends(&bank) > before);
        found.push(Some(if renewed { "new" } else { "old" }.to_owned()));
    }
    told("renew", &found);
}

#[test]
fn s_12_s_14_an_issue_and_a_setup_that_are_cut_off_lead_to_one_token() {
    let mut bank = Bank::open(COMPANIES, 8, 60, "");
    let (mut found, mut handed) = (Vec::new(), Vec::new());
    // In a build without optimisation the check of the start password takes most of a setup.
    let mut setup_takes = Duration::from_millis(300);
    for (user, after) in moments().enumerate() {
        let name = bank.names[user].clone();
        let issue = ["token", "issue", "--user", &name];
        let _ = bank.cut_off(&issue, &["4711"], When::Begun(after));
        let state = bank.state(user, COMPANIES);
        assert!(matches!(state.as_deref(), None | Some("issued")), "{state:?}");
        found.push(state);
        // Nobody has seen the ids: it is issued anew, and what is left of the first has no effect.
        let issued = bank.branch.json(&issue, &["4711"]);
        let id = |key: &str| issued[key].as_str().unwrap().to_owned();
        let (service_id, user_id) = (id("service_id"), id("user_id"));
        let setup = ["token", "setup", "--service-id", &service_id, "--user-id", &user_id, "--json"];
        let share = u32::try_from(user).unwrap() + 2;
        let ended = bank.cut_off(&setup, &["4711"], When::Started(setup_takes * share / 6));
        let state = bank.state(user, COMPANIES);
        assert!(matches!(state.as_deref(), Some("issued" | "set-up")), "{state:?}");
        assert!(ended.code != Some(0) || state.as_deref() == Some("set-up"));
        // The key has gone out once at most: where it may have, another token is issued.
        let begun = Instant::now();
        let token = if state.as_deref() == Some("issued") {
            bank.branch.set_up(&issued, "4711")
        } else {
            assert_ne!(bank.branch.run(&setup, &["4711"]).code, Some(0), "the key goes out once");
            bank.branch.issued(&name)
        };
        setup_takes = begun.elapsed().min(Duration::from_secs(1));
        handed.push(state);
        let code = bank.branch.code(&token, 0);
        let _ = bank.branch.done(&["token", "confirm", "--user", &name], &[&code]);
        assert_eq!(bank.branch.tokens(&name), [(token.serial.clone(), "active".to_owned())]);
        bank.tokens[user] = token;
        bank.branch.reopen_later(120);
        assert!(bank.works(user, COMPANIES, 0));
    }
    told("issue", &found);
    told("setup", &handed);
}

#[test]
fn an_import_that_is_cut_off_goes_on_where_it_was() {
    let mut bank = Bank::open(PERSONS, 6, 30, "");
    let path = bank.file("");
    let import = ["token", "import", &path, "--format", "csv", "--bind", "--good-only"];
    for after in moments() {
        let _ = bank.cut_off(&import, &[], When::Begun(after));
        for name in &bank.names {
            let tokens = bank.branch.tokens(name);
            assert!(matches!(tokens.as_slice(), [] | [(_, _)]), "{tokens:?}");
            assert!(tokens.iter().all(|(_, state)| state == "active"), "{tokens:?}");
        }
    }
    assert!(bank.branch.done(&import, &[]).contains("imported 6 tokens, 0 refused"));
    for user in 0..KILLS {
        assert!(bank.works(user, PERSONS, 30), "user {user}");
    }
}
