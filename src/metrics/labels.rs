//! The closed sets of label values: what is not listed here or configured can never become a label.

use crate::outcome::{Reason, Verdict};
use prometheus::core::{Metric, MetricVec, MetricVecBuilder};

/// A closed set of values of one label.
pub trait Label: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];
    /// The value as it is exported.
    fn text(self) -> &'static str;
    /// Its position in [`Label::ALL`].
    fn index(self) -> usize;
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$value_doc])* $value,)* }

        impl Label for $name {
            const ALL: &'static [Self] = &[$($name::$value),*];

            fn text(self) -> &'static str {
                match self { $($name::$value => $text),* }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    )*};
}

labels! {
    /// What is lost outside of any judgement: further causes of `sekisho_dropped_total` beside the reasons.
    Loss {
        /// The kernel's receive buffer was full.
        KernelBuffer = "kernel-buffer",
        /// A receive or poll call failed.
        ReceiveFailed = "receive-failed",
        /// A datagram came from port 0.
        Unanswerable = "unanswerable",
        /// The handling of a datagram panicked.
        HandlerPanicked = "handler-panicked",
        /// The send buffer was full.
        SendBlocked = "send-blocked",
        /// The kernel refused a reply.
        SendFailed = "send-failed",
        /// No room to hold back one more reply.
        HoldFull = "hold-full",
    }

    /// The states in the life of a token, as `token list` names them.
    TokenState {
        /// In stock, nobody's yet.
        Inventory = "inventory",
        /// Promised to a user, not set up.
        Issued = "issued",
        /// Set up, not confirmed by a code.
        SetUp = "set-up",
        /// In use.
        Active = "active",
        /// Its user is locked.
        Locked = "locked",
        /// Suspended.
        Suspended = "suspended",
        /// Past its time.
        Expired = "expired",
        /// Revoked.
        Revoked = "revoked",
        /// Too many failures in a row (NIST SP 800-63B-4 §3.2.2).
        Disabled = "disabled",
        /// Its entry cannot be used.
        Unusable = "unusable",
    }

    /// The bounded tables of the daemon.
    Table {
        /// Requests and replies remembered for retransmissions.
        Duplicates = "duplicates",
        /// Challenges that were sent and not answered.
        Challenges = "challenges",
        /// Users with a lockout record.
        Users = "users",
        /// Tokens with a last step.
        Tokens = "tokens",
        /// End-user addresses that failed lately.
        Throttle = "throttle",
        /// Replies that are held back.
        Held = "held",
        /// Sources whose level of signing is pinned.
        Pinned = "pinned",
        /// Passwords that the directory has just called right.
        Proofs = "proofs",
    }

    /// What the directory is asked to do.
    DirectoryOperation {
        /// Opening a connection, TLS included.
        Connect = "connect",
        /// Checking a password.
        Bind = "bind",
        /// Looking for a user.
        Search = "search",
        /// Following changes.
        Sync = "sync",
        /// Writing a token's or user's entry.
        Modify = "modify",
    }

    /// How this node and the shared engine stand.
    ClusterStanding {
        /// The engine decides.
        Together = "together",
        /// The engine decides, but codes up to a moment may have been used without its knowing.
        InDoubt = "together-in-doubt",
        /// The engine is lost and this node goes on by itself.
        Alone = "alone",
        /// The engine cannot be reached.
        Unreachable = "unreachable",
        /// This node is writing back what it knows.
        CatchingUp = "catching-up",
        /// The node that may go on alone is not connected.
        Fenced = "fenced",
    }

    /// How an attempt ended.
    Attempt {
        /// As wanted.
        Succeeded = "succeeded",
        /// Refused or failed.
        Failed = "failed",
    }

    /// What became of a letter.
    MailResult {
        /// The mail server took it.
        Sent = "sent",
        /// An attempt failed; it is tried again.
        Retried = "retried",
        /// Given up.
        Failed = "failed",
        /// Too many were waiting.
        Refused = "refused",
    }

    /// What became of an HTTP request to the API.
    HttpOutcome {
        /// Done, or shown.
        Done = "done",
        /// Refused.
        Refused = "refused",
        /// Nobody that we know.
        Unauthenticated = "unauthenticated",
        /// Too often.
        Limited = "limited",
        /// Not possible now, or broken.
        Failed = "failed",
    }

    /// Which of a client's two secrets a request was signed with.
    SecretUsed {
        /// The one in `secret-file`.
        Current = "current",
        /// The one that will take its place.
        Next = "next",
    }
}

impl HttpOutcome {
    /// What a status says.
    pub const fn of(status: u16) -> HttpOutcome {
        match status {
            401 => HttpOutcome::Unauthenticated,
            429 => HttpOutcome::Limited,
            500.. => HttpOutcome::Failed,
            400.. => HttpOutcome::Refused,
            _ => HttpOutcome::Done,
        }
    }
}

impl Label for Verdict {
    const ALL: &'static [Verdict] = &[Verdict::Accept, Verdict::Challenge, Verdict::Reject, Verdict::Drop];

    fn text(self) -> &'static str {
        Verdict::text(self)
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Reason {
    const ALL: &'static [Reason] = Reason::ALL;

    fn text(self) -> &'static str {
        Reason::text(self)
    }

    fn index(self) -> usize {
        Reason::index(self)
    }
}

/// One metric for each value of a label, made at the start: nothing is looked up by text afterwards.
#[derive(Debug)]
pub struct Each<L, M> {
    children: Vec<M>,
    /// Stands in for a value outside of `ALL`, which no [`Label`] has.
    spare: M,
    label: std::marker::PhantomData<fn(L)>,
}

impl<L: Label, M: Metric> Each<L, M> {
    /// The children of `family`, which has one label.
    pub(super) fn of<B>(family: &MetricVec<B>) -> prometheus::Result<Each<L, M>>
    where
        B: MetricVecBuilder<M = M>,
    {
        Each::with(|label| family.get_metric_with_label_values(&[label]))
    }

    /// The children that `child` makes of the texts.
    pub(super) fn with(child: impl Fn(&str) -> prometheus::Result<M>) -> prometheus::Result<Each<L, M>> {
        let children: Vec<M> =
            L::ALL.iter().map(|label| child(label.text())).collect::<prometheus::Result<_>>()?;
        let spare = children
            .first()
            .cloned()
            .ok_or_else(|| prometheus::Error::Msg("a label without values".into()))?;
        Ok(Each { children, spare, label: std::marker::PhantomData })
    }

    /// The metric of one value.
    pub fn at(&self, label: L) -> &M {
        self.children.get(label.index()).unwrap_or(&self.spare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed<L: Label>() {
        for (at, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), at);
            assert!(label.text().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", label.text());
            assert_eq!(L::ALL.iter().filter(|other| other.text() == label.text()).count(), 1);
        }
    }

    #[test]
    fn sec_22_every_label_value_has_its_own_text_and_place() {
        closed::<Loss>();
        closed::<TokenState>();
        closed::<Table>();
        closed::<DirectoryOperation>();
        closed::<ClusterStanding>();
        closed::<Attempt>();
        closed::<MailResult>();
        closed::<HttpOutcome>();
        closed::<SecretUsed>();
        closed::<Verdict>();
        closed::<Reason>();
    }

    #[test]
    fn losses_are_no_reasons() {
        assert!(Loss::ALL.iter().all(|loss| Reason::ALL.iter().all(|reason| reason.text() != loss.text())));
    }
}
