//! What survives a crash: the journal of marks.
