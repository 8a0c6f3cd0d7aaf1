//! The refusals of acts: every word stands in `docs/refusals.md` exactly once, and no other does.

use sekisho::admin::refusal::Refuse;
use std::collections::BTreeSet;

#[test]
fn the_table_of_refusals_is_the_vocabulary() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/refusals.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let mut written = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        assert!(cells[1].len() > 10 && cells[2].len() > 5, "{row}");
        assert!(written.insert(cells[0].trim_matches('`').to_owned()), "{row} stands twice");
    }
    let meant: BTreeSet<String> = Refuse::words().into_iter().map(str::to_owned).collect();
    assert_eq!(written, meant);
}
