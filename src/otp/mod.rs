//! The codes: HOTP and TOTP, which step matched, and where in the field the code stands.

mod code;
mod drift;
mod examine;
mod hotp;
mod layout;
mod parameters;
mod totp;
pub mod uri;

pub use code::Code;
pub use drift::Drift;
pub use examine::{Finding, Resync, examine, other_time, resync};
pub use hotp::truncated;
pub use layout::{Cut, First, Layout, LayoutProblem, Separator, cut, has_code_shape};
pub use parameters::{
    Algorithm, Digits, LookAhead, Moving, ParameterProblem, Parameters, Period, SECRET_MAX, SECRET_MIN, Step,
    Window, check_secret,
};
pub use totp::step_at;

#[cfg(test)]
mod tests;
