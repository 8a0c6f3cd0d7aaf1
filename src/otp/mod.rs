//! The codes: HOTP and TOTP, which step matched, and where in the field the code stands.
