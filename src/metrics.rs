//! The counters and histograms.
