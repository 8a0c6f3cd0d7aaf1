//! Lists of many users and tokens: one walk through the directory, and pages that cost what they show.
//!
//! ```text
//! SEKISHO_LISTED=20000 cargo test --test stories long_lists -- --nocapture      so many users, and how long a list takes
//! ```

use crate::harness::branch::{Branch, member};
use crate::harness::dice;
use std::time::Instant;

/// So many users where nothing else is wished: three pages of the command line, two of the walk.
const USERS: u64 = 1200;

/// How often the directory was walked through so far, in pages of a walk.
fn walked(branch: &Branch, attribute: &str) -> usize {
    let asked = format!("SRCH attr={attribute}");
    branch.world.slapd.log().lines().filter(|line| line.ends_with(&asked)).count()
}

#[test]
fn a_long_list_walks_through_the_directory_once_and_its_pages_follow_each_other() {
    let count = dice::number("SEKISHO_LISTED").unwrap_or(USERS);
    let count = usize::try_from(count).unwrap();
    let people = (0..count).map(|n| member(&format!("user{n:06}"), "C-1", "general", &[(6, 30)])).collect();
    let branch = Branch::open(people);
    let pages = count.div_ceil(1000);

    for (what, name, attribute) in [("user", "user", "uid"), ("token", "serial", "oathTokenSerialNumber")] {
        let (before, begun) = (walked(&branch, attribute), Instant::now());
        let list = branch.json(&[what, "list"], &[]);
        println!("{count}: {what} list in {:?}", begun.elapsed());
        let names: Vec<&str> =
            list.as_array().unwrap().iter().map(|one| one[name].as_str().unwrap()).collect();
        assert_eq!(names.len(), count);
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
        assert_eq!(walked(&branch, attribute) - before, pages, "{what}: one walk, whatever the pages");
    }
}
