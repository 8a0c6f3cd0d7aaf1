//! The store as a whole: crashes, faults and damage on a disk that breaks on demand.
