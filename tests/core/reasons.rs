//! The one vocabulary: every reason stands in `docs/reasons.md` exactly once, with its verdict and fault, and in order.

use sekisho::outcome::{Fault, Reason};

#[test]
fn the_table_for_operators_is_the_vocabulary() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reasons.md");
    let text = std::fs::read_to_string(path).expect("docs/reasons.md");
    let written: Vec<[String; 3]> = text.lines().filter_map(row).collect();
    let meant: Vec<[String; 3]> = Reason::ALL
        .iter()
        .map(|reason| [reason.text(), reason.verdict().text(), fault(reason.fault())].map(String::from))
        .collect();
    for reason in &meant {
        let times = written.iter().filter(|row| row[0] == reason[0]).count();
        assert_eq!(times, 1, "{} stands {times} times in docs/reasons.md", reason[0]);
    }
    for row in &written {
        assert!(meant.iter().any(|reason| reason[0] == row[0]), "{} is no reason", row[0]);
    }
    assert_eq!(written, meant, "verdict, fault and order");
}

/// Reason, verdict and fault of a table row that explains a reason and says what to do about it.
fn row(line: &str) -> Option<[String; 3]> {
    let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let name = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
    assert_eq!(cells.len(), 5, "reason, verdict, fault, what happened, what to do: {line}");
    for explanation in &cells[3..] {
        assert!(explanation.len() > 5, "{name} needs words: {line}");
    }
    Some([name, cells[1], cells[2]].map(String::from))
}

/// The word for whose doing it is.
fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Nobody => "nobody",
        Fault::User => "user",
        Fault::Peer => "sender",
        Fault::Data => "data",
        Fault::Ours => "ours",
    }
}
