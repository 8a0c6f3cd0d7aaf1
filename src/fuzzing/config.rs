//! Configuration from any text: problems or settings, and a list that says where each problem is.

use crate::config::{Inputs, load};
use std::path::PathBuf;
use std::sync::OnceLock;

/// The octets are the configuration file.
pub fn config(octets: &[u8]) {
    // Paths would lead out of the input, to whatever the machine has.
    let text = String::from_utf8_lossy(octets).replace("/", "_");
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("sekisho-fuzz-{}", std::process::id()));
        let _ = std::fs::create_dir_all(&folder);
        folder.join("sekisho.toml")
    });
    if std::fs::write(file, &*text).is_err() {
        return;
    }
    // The default is LDAP with the system's authorities, whose reading takes longer than everything else.
    let embedded = ("SEKISHO__DIRECTORY__KIND".to_owned(), "\"embedded\"".to_owned());
    let environment = if text.contains("ldap") { Vec::new() } else { vec![embedded] };
    let loaded = load(&Inputs { file: file.clone(), environment, credentials: None });
    assert_eq!(
        loaded.settings.is_none(),
        loaded.errors().next().is_some(),
        "settings or errors, never both or neither"
    );
    for problem in &loaded.problems {
        assert!(!problem.to_string().is_empty());
    }
    let _ = loaded.effective().to_string();
}
