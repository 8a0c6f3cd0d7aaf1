//! How far bulk work has come, on a terminal and nowhere else.

use std::io::{self, IsTerminal as _, Write as _};

/// A bar on standard error.
pub struct Progress {
    what: &'static str,
    total: Option<usize>,
    shown: Option<usize>,
}

/// Steps between two drawings: a terminal is slower than the work.
const STEP: usize = 25;

/// How wide the bar is, in characters.
const WIDTH: usize = 30;

impl Progress {
    /// Begins; `total` is `None` where nobody knows how much there is.
    pub fn new(what: &'static str, total: Option<usize>) -> Progress {
        let shown = io::stderr().is_terminal().then_some(0);
        Progress { what, total, shown }
    }

    /// So much is done.
    pub fn at(&mut self, done: usize) {
        let Some(shown) = self.shown else { return };
        if done != 0 && done < shown.saturating_add(STEP) && Some(done) != self.total {
            return;
        }
        self.shown = Some(done);
        let line = self.line(done);
        let _ = write!(io::stderr().lock(), "\r{line}");
    }

    fn line(&self, done: usize) -> String {
        match self.total {
            Some(total) if total > 0 => {
                let filled = done.min(total).saturating_mul(WIDTH).checked_div(total).unwrap_or(0);
                format!("{} [{:<WIDTH$}] {done}/{total}", self.what, "#".repeat(filled))
            }
            _ => format!("{} {done}", self.what),
        }
    }
}

/// The line is given back to whatever is printed next.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr().lock(), "\r{:width$}\r", "", width = WIDTH.saturating_add(50));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_up_and_never_over() {
        let bar = |done, total| Progress { what: "x", total, shown: None }.line(done);
        assert_eq!(bar(0, Some(10)), format!("x [{}] 0/10", " ".repeat(30)));
        assert_eq!(bar(5, Some(10)), format!("x [{}{}] 5/10", "#".repeat(15), " ".repeat(15)));
        assert_eq!(bar(20, Some(10)), format!("x [{}] 20/10", "#".repeat(30)));
        assert_eq!((bar(7, None).as_str(), bar(7, Some(0)).as_str()), ("x 7", "x 7"));
    }
}
