//! Every metric stands in `docs/metrics.md`, and every name there is a metric.

use sekisho::identity::ClientName;
use sekisho::metrics::Metrics;
use std::collections::BTreeSet;

#[test]
fn the_document_names_every_metric_and_no_other() {
    let metrics = Metrics::new().unwrap();
    // A family is in the text once it has a series: these come with a client, a directory server, an engine.
    let _client = metrics.client(&ClientName::new("gateway")).unwrap();
    metrics.directory_up("ldaps://ldap1.example.jp").unwrap().set(1);
    metrics.cluster_up("redis").unwrap().set(1);
    let text = metrics.text().unwrap();
    let exported: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_whitespace().next()).collect();
    assert!(exported.len() > 20, "{exported:?}");

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let document = std::fs::read_to_string(path).expect("docs/metrics.md");
    let rows: Vec<&str> = document.lines().filter_map(row).collect();
    let written: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(rows.len(), written.len(), "a metric stands twice in docs/metrics.md");
    assert_eq!(written, exported);
}

/// The metric that a table row is about: labels, unit, meaning and alert follow its name.
fn row(line: &str) -> Option<&str> {
    let name = line.strip_prefix("| `")?.split('`').next()?;
    assert_eq!(line.matches(" |").count(), 5, "name, labels, unit, meaning, alert: {line}");
    Some(name)
}
