//! The commands of docs/services.md, run as they stand there, each part from top to bottom.

use crate::harness::branch::{Branch, member, stock};
use crate::harness::{PASSWORD, Seed, daemon};
use std::collections::BTreeMap;
use std::process::Command;

/// The blocks of commands under a heading.
fn blocks(heading: &str) -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/services.md")).unwrap();
    let part = page.split("\n## ").find(|part| part.starts_with(heading)).expect("a part of the page");
    let fenced = part.split("```sh\n").skip(1);
    fenced.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// What a reader of the page has at hand.
struct Reader {
    branch: Branch,
    known: BTreeMap<&'static str, String>,
    token: Option<Seed>,
    /// Another one, whose codes go by another name.
    other: Option<(&'static str, Seed)>,
    step: i64,
}

impl Reader {
    fn new(branch: Branch) -> Reader {
        let known = BTreeMap::from([("PASSWORD", PASSWORD.to_owned())]);
        Reader { branch, known, token: None, other: None, step: -1 }
    }

    /// Runs every line of the part; each must succeed.
    fn follow(&mut self, heading: &str) {
        let mut lines = 0;
        for block in blocks(heading) {
            for line in block.lines().filter(|line| !line.trim().is_empty()) {
                self.run(line);
                lines += 1;
            }
        }
        assert!(lines > 4, "{heading}: {lines} commands");
    }

    fn run(&mut self, line: &str) {
        if line.contains("CODE\\n") {
            let period = |seed: &Seed| i64::from(seed.period);
            if let Some(token) = &self.token {
                self.known.insert("CODE", self.branch.code(token, self.step * period(token)));
            }
            if let Some((name, other)) = &self.other {
                self.known.insert(name, self.branch.code(other, self.step * period(other)));
            }
            self.step += 1;
        }
        let config = self.branch.world.config.display();
        let script = format!("sekisho() {{ {:?} \"$@\" --config '{config}'; }}\n{line}\n", daemon::binary());
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .envs(&self.known)
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line}: {out}{}", String::from_utf8_lossy(&output.stderr));
        for (label, name) in [("serial", "SERIAL"), ("service id", "SERVICE_ID"), ("user id", "USER_ID")] {
            if let Some(value) = printed(&out, label) {
                self.known.insert(name, value);
            }
        }
        if let (Some(key), Some(serial)) = (printed(&out, "key"), printed(&out, "serial")) {
            let octets = data_encoding::BASE32_NOPAD.decode(key.as_bytes()).unwrap();
            let hex = data_encoding::HEXLOWER.encode(&octets);
            self.token = Some(Seed::new(&serial, &hex, 8, 60));
        }
    }
}

/// The value behind a label at the beginning of a line.
fn printed(out: &str, label: &str) -> Option<String> {
    out.lines().find_map(|line| {
        let rest = line.strip_prefix(label).filter(|rest| rest.starts_with("  "))?;
        rest.split_whitespace().next().map(str::to_owned)
    })
}

#[test]
fn p_a_companies_as_the_page_says() {
    let mut reader = Reader::new(Branch::open(vec![
        member("master", "C-1", "master", &[(8, 60)]),
        member("taro", "C-1", "general", &[]),
    ]));
    reader.other = Some(("MASTER_CODE", reader.branch.world.token("master", 0).clone()));
    reader.follow("P-A");
    assert_eq!(reader.branch.tokens("taro")[0].1, "revoked");
}

#[test]
fn p_b_persons_as_the_page_says() {
    let mut reader = Reader::new(Branch::open(vec![member("hanako", "P-1", "general", &[])]));
    reader.follow("P-B");
    assert_eq!(reader.branch.tokens("hanako")[0].1, "revoked");
}

#[test]
fn p_c_persons_with_tokens_of_the_inventory_as_the_page_says() {
    let tokens = ["INV-0001", "INV-0002"].map(|serial| stock(serial, 6, 30));
    let people = vec![member("hanako", "P-1", "general", &[])];
    let mut reader = Reader::new(Branch::open_with(people, &tokens, |builder| builder));
    let [first, second] = tokens;
    (reader.token, reader.other) = (Some(first), Some(("NEW_CODE", second)));
    reader.follow("P-C");
    assert_eq!(reader.branch.state("INV-0001"), "revoked");
    assert_eq!(reader.branch.state("INV-0002"), "inventory");
}

#[test]
fn p_d_companies_whose_tokens_end_as_the_page_says() {
    let mut reader = Reader::new(Branch::open(vec![member("taro", "D-1", "general", &[])]));
    reader.follow("P-D");
    assert_eq!(reader.branch.tokens("taro")[0].1, "active");
}
