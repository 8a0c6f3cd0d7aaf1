//! What surrounds the code: the unit file that systemd starts the daemon from, and where MD5 may stand.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn sec_19_the_unit_gives_nothing_that_is_not_needed() {
    let unit = std::fs::read_to_string(root().join("systemd/sekisho.service")).unwrap();
    let lines: BTreeSet<&str> = unit.lines().map(str::trim).collect();
    for wanted in [
        "Type=notify",
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "MemoryDenyWriteExecute=yes",
        "RestrictNamespaces=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "SystemCallArchitectures=native",
        "LimitCORE=0",
        "Restart=on-failure",
    ] {
        assert!(lines.contains(wanted), "{wanted} is missing");
    }
    for begun in ["WatchdogSec=", "RestrictAddressFamilies=", "SystemCallFilter=", "LoadCredential="] {
        assert!(unit.lines().any(|line| line.trim_start_matches('#').trim().starts_with(begun)), "{begun}");
    }
    assert!(!unit.contains("User=root"));
    // Where systemd's own judge is at hand it has to agree: below 2.0 of 10.
    let judge = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(root().join("systemd/sekisho.service"))
        .output();
    if let Ok(output) = judge {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn sec_26_md5_stands_only_where_radius_demands_it() {
    let mut found = Vec::new();
    files(&root().join("src"), &mut found);
    let guilty: Vec<_> = found
        .iter()
        .filter(|path| !path.starts_with(root().join("src/radius")))
        .filter(|path| std::fs::read_to_string(path).unwrap().contains("md5::"))
        .collect();
    assert!(guilty.is_empty(), "MD5 outside the RADIUS codec: {guilty:?}");
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
