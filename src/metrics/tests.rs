//! What stands in the text, and that the sums agree.

use super::*;
use std::collections::BTreeSet;

/// The names of contract.md section 5, which dashboards rely on.
const CONTRACT: [&str; 17] = [
    "sekisho_requests_total{client=\"-\",outcome=\"drop\",reason=\"client-unknown\"} 0",
    "sekisho_request_duration_seconds_count{outcome=\"accept\"} 0",
    "sekisho_dropped_total{cause=\"message-authenticator-missing\"} 0",
    "sekisho_duplicates_total 0",
    "sekisho_in_flight 0",
    "sekisho_users_locked 0",
    "sekisho_tokens{state=\"set-up\"} 0",
    "sekisho_token_clock_offset_seconds_count 0",
    "sekisho_directory_duration_seconds_count{operation=\"bind\"} 0",
    "sekisho_directory_bindings 0",
    "sekisho_directory_sync_age_seconds 0",
    "sekisho_journal_sync_seconds_count 0",
    "sekisho_state_entries{table=\"challenges\"} 0",
    "sekisho_config_reloads_total{result=\"failed\"} 0",
    concat!("sekisho_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    "process_start_time_seconds ",
    "process_resident_memory_bytes ",
];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn has(text: &str, line: &str) -> bool {
    text.lines().any(|found| found == line || (line.ends_with(' ') && found.starts_with(line)))
}

#[test]
fn sec_24_every_name_is_there_before_anything_happened() {
    let text = Metrics::new().unwrap().text().unwrap();
    for line in CONTRACT {
        assert!(has(&text, line), "{line} is missing in:\n{text}");
    }
    for loss in Loss::ALL {
        assert!(has(&text, &format!("sekisho_dropped_total{{cause=\"{}\"}} 0", loss.text())));
    }
    for reason in Reason::ALL.iter().filter(|reason| reason.verdict() != Verdict::Drop) {
        assert!(!text.contains(&format!("cause=\"{}\"", reason.text())), "{} is no drop", reason.text());
    }
}

#[test]
fn a_configured_client_and_server_are_there_before_their_first_request() {
    let metrics = Metrics::new().unwrap();
    let gateway = metrics.client(&ClientName::new("gateway")).unwrap();
    metrics.directory_up("ldap1").unwrap();
    let text = metrics.text().unwrap();
    for line in [
        "sekisho_requests_total{client=\"gateway\",outcome=\"accept\",reason=\"code-accepted\"} 0",
        "sekisho_client_secret_total{client=\"gateway\",secret=\"next\"} 0",
        "sekisho_client_status_server_total{client=\"gateway\"} 0",
        "sekisho_client_duplicates_total{client=\"gateway\"} 0",
        "sekisho_directory_up{server=\"ldap1\"} 0",
    ] {
        assert!(has(&text, line), "{line} is missing in:\n{text}");
    }
    metrics.forget_client(gateway.name());
    metrics.forget_directory("ldap1");
    let text = metrics.text().unwrap();
    assert!(!text.contains("gateway") && !text.contains("ldap1"), "{text}");
}

#[test]
fn sec_23_sums_agree_over_every_reason() {
    let metrics = Metrics::new().unwrap();
    let gateway = metrics.client(&ClientName::new("gateway")).unwrap();
    let again = metrics.client(&ClientName::new("gateway")).unwrap();
    for (client, reason) in Reason::ALL.iter().flat_map(|reason| [(&gateway, reason), (&again, reason)]) {
        metrics.record(client, *reason, Duration::from_micros(30));
    }
    metrics.record(metrics.unknown_client(), Reason::ClientUnknown, Duration::ZERO);
    metrics.duplicate(&gateway);

    let text = metrics.text().unwrap();
    let sum = |prefix: &str, part: &str| -> u64 {
        let rows = text.lines().filter(|line| line.starts_with(prefix) && line.contains(part));
        rows.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    let all = Reason::ALL.len() as u64;
    assert_eq!(sum("sekisho_requests_total{", ""), 2 * all + 1);
    assert_eq!(sum("sekisho_request_duration_seconds_count{", ""), 2 * all + 1);
    for verdict in <Verdict as Label>::ALL {
        let outcome = format!("outcome=\"{}\"", verdict.text());
        let requests = sum("sekisho_requests_total{", &outcome);
        assert_eq!(requests, sum("sekisho_request_duration_seconds_count{", &outcome));
        if *verdict == Verdict::Drop {
            assert_eq!(requests, sum("sekisho_dropped_total{", ""));
        }
    }
    assert_eq!(sum("sekisho_dropped_total{", "\"client-unknown\""), 3);
    assert_eq!(gateway.count(Reason::CodeUsed), 2, "two handles, one client");
    assert_eq!(metrics.replays.get(), 2);
    assert_eq!(metrics.other_time.get(), 2);
    assert_eq!(metrics.duplicates.get(), 3, "two in flight, one answered again");
    assert_eq!(gateway.duplicates.get(), 3);
}

#[test]
fn gauges_are_set_and_losses_followed_at_the_scrape() {
    let metrics = Metrics::new().unwrap();
    let totals = std::sync::Arc::new(AtomicU64::new(5));
    let source = std::sync::Arc::clone(&totals);
    metrics.on_scrape(move |metrics| {
        metrics.tokens.at(TokenState::Active).set(7);
        metrics.follow(Loss::SendFailed, source.load(Ordering::Relaxed));
    });
    for (total, shown) in [(5, 5), (5, 5), (9, 9), (2, 9), (3, 10)] {
        totals.store(total, Ordering::Relaxed);
        let text = metrics.text().unwrap();
        assert!(has(&text, "sekisho_tokens{state=\"active\"} 7"));
        assert!(has(&text, &format!("sekisho_dropped_total{{cause=\"send-failed\"}} {shown}")), "{text}");
    }
    metrics.lose(Loss::HoldFull);
    assert!(has(&metrics.text().unwrap(), "sekisho_dropped_total{cause=\"hold-full\"} 1"));
}

/// SEC-22: the label names that may stand in the text, and nothing else.
#[test]
fn sec_22_labels_are_closed() {
    let metrics = Metrics::new().unwrap();
    let gateway = metrics.client(&ClientName::new("gate \"1\"\n")).unwrap();
    Reason::ALL.iter().for_each(|reason| metrics.record(&gateway, *reason, seconds(1)));
    metrics.directory_up("ldap1").unwrap().set(1);
    let text = metrics.text().unwrap();
    let names: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.split(['{', ',']).skip(1))
        .filter_map(|label| label.split_once("=\"").map(|(name, _)| name))
        .collect();
    let allowed =
        ["cause", "client", "le", "operation", "outcome", "reason", "result", "secret", "server", "standing"];
    assert_eq!(names, allowed.into_iter().chain(["state", "table", "version"]).collect());
    assert!(text.contains(r#"client="gate \"1\"\n""#), "a strange name stays inside its quotes");
}

#[test]
fn every_family_says_what_it_is() {
    let text = Metrics::new().unwrap().text().unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let told = |family: &str| text.contains(&format!("# HELP {family} "));
        assert!(told(family) || told(name), "{name}");
    }
}
