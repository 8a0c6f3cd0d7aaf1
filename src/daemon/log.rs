//! The log: one line an event, for journald or for people.

use crate::config::{LogFormat, LogLevel};
use std::io::IsTerminal as _;
use tracing_subscriber::filter::LevelFilter;

/// Starts logging to standard error. A second start changes nothing.
pub fn start(format: LogFormat, level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    let started = match format {
        // A terminal has a reader; a pipe has a collector.
        LogFormat::Auto if std::io::stderr().is_terminal() => {
            builder.with_target(false).with_ansi(false).try_init()
        }
        LogFormat::Json | LogFormat::Auto => {
            builder.json().flatten_event(true).with_current_span(false).try_init()
        }
        LogFormat::Text => builder.with_target(false).with_ansi(false).try_init(),
    };
    // Only a test can have started it before.
    drop(started);
}
