//! Every requirement has a test that carries its id, or a line in docs/conformance.md that says why not and when.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// How many requirements there are of each kind (standards: RADIUS, challenge, codes, LDAP, security).
const REQUIREMENTS: [(&str, u32); 5] = [("RAD", 52), ("CHL", 13), ("OTP", 34), ("LDAP", 32), ("SEC", 30)];

#[test]
fn every_requirement_has_a_test_or_a_line_that_says_why_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = String::new();
    for folder in ["src", "tests"] {
        collect(&root.join(folder), &mut names);
    }
    let tested = |id: &str| names.contains(&format!("_{id}_"));
    let document = fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    let explained: BTreeSet<&str> =
        document.lines().filter_map(|line| line.strip_prefix("| ")?.split_whitespace().next()).collect();
    let mut missing = Vec::new();
    let mut stale = Vec::new();
    for (kind, count) in REQUIREMENTS {
        for number in 1..=count {
            let (id, name) = (format!("{kind}-{number:02}"), format!("{}_{number:02}", kind.to_lowercase()));
            match (tested(&name), explained.contains(id.as_str())) {
                (false, false) => missing.push(id),
                (true, true) => stale.push(id),
                _ => {}
            }
        }
    }
    assert!(missing.is_empty(), "neither a test nor a line in docs/conformance.md: {missing:?}");
    assert!(stale.is_empty(), "docs/conformance.md explains what has a test: {stale:?}");
}

/// The names of all test functions, each as `_name_`, so that `rad_04_05_x` carries RAD-04 and `rad_045` does not.
fn collect(folder: &Path, names: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut lines = text.lines().peekable();
            while let Some(line) = lines.next() {
                let attribute = line.trim();
                if attribute.starts_with("#[test]") {
                    let function = lines.find_map(|line| line.trim().strip_prefix("fn ").map(str::to_owned));
                    if let Some((name, _)) = function.as_deref().and_then(|text| text.split_once('(')) {
                        names.push_str(&format!("_{}_\n", expand(name)));
                    }
                }
            }
        }
    }
}

/// `chl_04_05_06_x` shows three requirements: every number after a kind belongs to it.
fn expand(name: &str) -> String {
    let mut expanded = String::new();
    let mut kind = "";
    for part in name.split('_') {
        if ["rad", "chl", "otp", "ldap", "sec", "s"].contains(&part) {
            kind = part;
        } else if part.len() == 2 && part.bytes().all(|octet| octet.is_ascii_digit()) && !kind.is_empty() {
            expanded.push_str(&format!("{kind}_{part}_"));
        } else {
            expanded.push_str(part);
            expanded.push('_');
        }
    }
    expanded
}
