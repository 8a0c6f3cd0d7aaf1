//! Whole configurations: samples, bad ones, and what is printed of them.
