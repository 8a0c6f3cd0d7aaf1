//! What became of a request: the one vocabulary for logs, metrics, audit, command line and `docs/reasons.md`.
//!
//! *Reject* means that the user was refused. *Drop* means that nobody gets an answer: either the packet deserved none,
//! or we could not judge it and the gateway must ask its next server. The two are never mixed up.

/// What leaves for the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Access-Accept.
    Accept,
    /// Access-Challenge: the second step is asked for.
    Challenge,
    /// Access-Reject: the user was refused.
    Reject,
    /// No answer.
    Drop,
}

impl Verdict {
    /// The word in logs, metrics and audit.
    pub const fn text(self) -> &'static str {
        match self {
            Verdict::Accept => "accept",
            Verdict::Challenge => "challenge",
            Verdict::Reject => "reject",
            Verdict::Drop => "drop",
        }
    }
}

/// Whose doing it is that a request ended as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nobody's: the request was answered as asked.
    Nobody,
    /// The user's: wrong, missing or used-up credentials.
    User,
    /// The sender's: what arrived is malformed, forged, unsigned or too much.
    Peer,
    /// The bank's data or configuration: a token or an entry that cannot work.
    Data,
    /// Ours: directory, disk, cluster or clock; the gateway should ask another server.
    Ours,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $verdict:ident, $fault:ident;)*) => {
        /// Why it ended so. Each reason belongs to one verdict and one fault, and has one fixed text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, in the order of `docs/reasons.md`.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),*];

            /// The fixed text: log field, metric label, audit value and row of `docs/reasons.md`.
            pub const fn text(self) -> &'static str {
                match self { $(Reason::$name => $text),* }
            }

            /// What the gateway gets for it.
            pub const fn verdict(self) -> Verdict {
                match self { $(Reason::$name => Verdict::$verdict),* }
            }

            /// Whose doing it is.
            pub const fn fault(self) -> Fault {
                match self { $(Reason::$name => Fault::$fault),* }
            }
        }
    };
}

reasons! {
    /// The code was right, and so was the password where one is asked for.
    CodeAccepted = "code-accepted", Accept, Nobody;
    /// The operation asks for no code and the password was right (or the gateway has checked it).
    CodeNotAsked = "code-not-asked", Accept, Nobody;
    /// The user has no token yet, and the service takes the confirmation password instead (S-04, S-22).
    PasswordInstead = "password-instead", Accept, Nobody;
    /// The same login was accepted a moment ago and the gateway has not heard of it: no further accept of its code.
    AnswerRepeated = "answer-repeated", Accept, Nobody;

    /// The first step is over: the code is asked for. Also sent as a decoy; the final reject tells the operator why.
    ChallengeSent = "challenge-sent", Challenge, Nobody;

    /// No entry has this name.
    UserUnknown = "user-unknown", Reject, User;
    /// More than one entry has this name.
    UserAmbiguous = "user-ambiguous", Reject, Data;
    /// The user has no token that could work now, and the operation needs a code.
    NoToken = "no-token", Reject, User;
    /// No token of the user shows this code at this time.
    CodeWrong = "code-wrong", Reject, User;
    /// The code was right once and has been used, or a newer one has.
    CodeUsed = "code-used", Reject, User;
    /// The code belongs to another time within a day: the token's clock is off (S-05).
    CodeOtherTime = "code-other-time", Reject, User;
    /// A code is needed and none was sent.
    CodeMissing = "code-missing", Reject, User;
    /// The directory refused the password.
    PasswordWrong = "password-wrong", Reject, User;
    /// Nothing is left for the password; the directory was not asked (RFC 4513 §5.1.2).
    PasswordEmpty = "password-empty", Reject, User;
    /// The password cannot be read in the encoding that the client declares.
    PasswordUnreadable = "password-unreadable", Reject, User;
    /// Too many failures: the user is locked until released or until the lock runs out.
    Locked = "locked", Reject, User;
    /// This end-user address failed too often in a short time; the user's own count was not touched.
    Throttled = "throttled", Reject, User;
    /// The directory has disabled the account.
    AccountDisabled = "account-disabled", Reject, User;
    /// The account's time is over, or has not begun.
    AccountExpired = "account-expired", Reject, User;
    /// The directory's own policy has locked the account.
    AccountLocked = "account-locked", Reject, User;
    /// The password is right and too old.
    PasswordExpired = "password-expired", Reject, User;
    /// The password is right and must be changed first.
    PasswordMustChange = "password-must-change", Reject, User;
    /// A hundred failures in a row: the token is disabled until it is bound anew (NIST SP 800-63B-4 §3.2.2).
    TokenDisabled = "token-disabled", Reject, User;
    /// The token was suspended.
    TokenSuspended = "token-suspended", Reject, User;
    /// The token was revoked.
    TokenRevoked = "token-revoked", Reject, User;
    /// The token's time is over.
    TokenExpired = "token-expired", Reject, User;
    /// The token's time has not begun.
    TokenNotYetValid = "token-not-yet-valid", Reject, User;
    /// The token's entry cannot be used: secret, parameters or reference are missing or wrong.
    TokenUnusable = "token-unusable", Reject, Data;
    /// The user has more tokens than one request may try.
    TokensTooMany = "tokens-too-many", Reject, Data;
    /// The State is unknown, expired, used, or belongs to another client or user.
    ChallengeUnknown = "challenge-unknown", Reject, User;
    /// The request carries no credential.
    CredentialMissing = "credential-missing", Reject, Peer;
    /// The request carries two kinds of credential, or a password of impossible length.
    CredentialInvalid = "credential-invalid", Reject, Peer;
    /// CHAP, MS-CHAP or EAP: none can carry a password to the directory.
    MethodUnsupported = "method-unsupported", Reject, Peer;
    /// There is no User-Name, or an empty one.
    UserNameMissing = "user-name-missing", Reject, Peer;
    /// An attribute that may stand once stands twice.
    AttributeRepeated = "attribute-repeated", Reject, Peer;
    /// Authorize-Only or Call-Check: nothing to authenticate.
    ServiceTypeRefused = "service-type-refused", Reject, Peer;
    /// The client's service profile knows no operation that fits the request, and has no default.
    OperationUnknown = "operation-unknown", Reject, Data;

    /// The source address is no configured client.
    ClientUnknown = "client-unknown", Drop, Peer;
    /// Fewer than 20 octets.
    TooShort = "too-short", Drop, Peer;
    /// The Length field is below 20, above 4096 or above what arrived.
    LengthWrong = "length-wrong", Drop, Peer;
    /// Not a code that an authentication port answers.
    TypeUnknown = "type-unknown", Drop, Peer;
    /// The attributes do not tile the packet.
    Malformed = "malformed", Drop, Peer;
    /// More attributes than allowed.
    AttributesTooMany = "attributes-too-many", Drop, Peer;
    /// A Message-Authenticator is demanded and there is none.
    MessageAuthenticatorMissing = "message-authenticator-missing", Drop, Peer;
    /// The Message-Authenticator is wrong, of the wrong length, or stands twice.
    MessageAuthenticatorBad = "message-authenticator-bad", Drop, Peer;
    /// Proxy-State without Message-Authenticator: the shape of the 2024 forgery (CVE-2024-3596).
    ProxyStateUnsigned = "proxy-state-unsigned", Drop, Peer;
    /// No credential and no Message-Authenticator.
    CredentialMissingUnsigned = "credential-missing-unsigned", Drop, Peer;
    /// A retransmission of a request that is still being judged.
    DuplicateInFlight = "duplicate-in-flight", Drop, Nobody;
    /// Same source, identifier and authenticator as before, other content.
    DuplicateDiffers = "duplicate-differs", Drop, Peer;
    /// A newer request took this one's identifier while it was being judged.
    Superseded = "superseded", Drop, Peer;
    /// This client has its share of requests in flight.
    ClientShare = "client-share", Drop, Peer;
    /// The daemon has as many requests in flight as it may.
    Overload = "overload", Drop, Ours;
    /// A bounded table is full.
    TableFull = "table-full", Drop, Ours;
    /// Status-Server is switched off, too frequent, or we are not ready.
    StatusServerSilent = "status-server-silent", Drop, Peer;
    /// The echo of all Proxy-State attributes would not fit into a reply.
    ReplyTooLong = "reply-too-long", Drop, Peer;

    /// No directory server can say.
    DirectoryUnreachable = "directory-unreachable", Drop, Ours;
    /// The directory's answer would come too late for the client.
    DirectoryTooLate = "directory-too-late", Drop, Ours;
    /// What is known of the directory is too old: a revoked token could be in it.
    DirectoryStale = "directory-stale", Drop, Ours;
    /// It is not known whether the user's contract is enabled.
    ContractsUnknown = "contracts-unknown", Drop, Ours;
    /// The token's first correct code could not be written to the directory as its confirmation.
    NotConfirmed = "not-confirmed", Drop, Ours;
    /// The mark could not be made durable.
    DiskFailed = "disk-failed", Drop, Ours;
    /// The clock cannot be trusted now.
    ClockGuarded = "clock-guarded", Drop, Ours;
    /// The shared engine cannot be reached.
    ClusterUnreachable = "cluster-unreachable", Drop, Ours;
    /// The shared engine did not answer in time: it may have used up the code or not.
    ClusterTooLate = "cluster-too-late", Drop, Ours;
    /// The code may have been used on another node without the shared engine knowing.
    ClusterCatchingUp = "cluster-catching-up", Drop, Ours;
    /// The node that may go on alone is not connected to the shared engine: it may be answering.
    ClusterFenced = "cluster-fenced", Drop, Ours;
    /// The daemon is stopping.
    Draining = "draining", Drop, Ours;
}

impl Reason {
    /// The position in [`Reason::ALL`], for tables of counters.
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_its_own_text_and_place() {
        let texts: HashSet<_> = Reason::ALL.iter().map(|reason| reason.text()).collect();
        assert_eq!(texts.len(), Reason::ALL.len());
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), at);
        }
    }

    #[test]
    fn a_failure_of_ours_is_never_a_reject() {
        for reason in Reason::ALL.iter().filter(|reason| reason.fault() == Fault::Ours) {
            assert_eq!(reason.verdict(), Verdict::Drop, "{}", reason.text());
        }
    }
}
