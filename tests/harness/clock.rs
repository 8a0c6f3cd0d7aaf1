//! A wall clock that a story can move while the daemon runs; the monotonic clock goes on as it is.

use super::unix_now;
use tempfile::TempDir;

/// Debian's package `faketime`.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// The clock that a process sees when it is started with [`Clock::environment`].
pub struct Clock {
    directory: TempDir,
}

impl Clock {
    /// A clock that is right.
    pub fn right() -> Clock {
        assert!(std::path::Path::new(LIBRARY).exists(), "faketime is needed: apt-get install faketime");
        let clock = Clock { directory: tempfile::tempdir().unwrap() };
        clock.ahead(0);
        clock
    }

    /// A clock that stands still.
    pub fn standing_at(unix: u64) -> Clock {
        let clock = Clock::right();
        clock.stand(unix);
        clock
    }

    /// For a process whose clock is ahead from its beginning to its end.
    pub fn constantly_ahead(seconds: u64) -> [(String, String); 3] {
        [("LD_PRELOAD", LIBRARY), ("FAKETIME", &format!("+{seconds}")), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    }

    /// Moves it: so many seconds ahead of the right time, or behind it.
    pub fn ahead(&self, seconds: i64) {
        self.set(&format!("{seconds:+}"));
    }

    /// Stops it at a time.
    pub fn stand(&self, unix: u64) {
        self.set(&unix.to_string());
    }

    /// The time that it shows when it is `ahead` by so many seconds.
    pub fn time(ahead: i64) -> u64 {
        unix_now().checked_add_signed(ahead).unwrap()
    }

    /// For the process that shall see it.
    pub fn environment(&self) -> Vec<(String, String)> {
        let file = self.directory.path().join("time").display().to_string();
        [
            ("LD_PRELOAD", LIBRARY),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_FMT", "%s"),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    fn set(&self, text: &str) {
        // Renamed into place, so that nobody reads half of it.
        let (new, file) = (self.directory.path().join("new"), self.directory.path().join("time"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, file).unwrap();
    }
}
