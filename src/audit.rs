//! One line per decision, for people and for evidence.
