//! One request from bytes to reply; the only place that knows the order of steps.
