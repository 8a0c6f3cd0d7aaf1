//! What a shared engine does for us, whichever it is: one atomic step for what belongs together, many in one round trip.
//!
//! The engine knows nothing of codes and locks. It holds *slots* (a token's or a user's mark, as octets) and *notes* (a
//! sealed answer, challenge or login with an end). A step says what its slots hold as far as this node knows, and what
//! they shall hold; if one of them holds something else, nothing happens and the node hears what is there. So the rules
//! stand in one place, in Rust, and both engines stay small.

use super::form::{NoteKey, SlotKey, SlotValue};
use crate::clock::Wall;
use arrayvec::ArrayVec;
use futures_util::future::BoxFuture;
use std::net::IpAddr;
use std::time::Duration;

/// The slots of one step: the user's, and one for each token.
pub const SLOTS_MAX: usize = crate::tokens::TOKENS_MAX + 1;

/// How long connecting and everything that belongs to it may take: no request waits for it.
pub const CONNECT: Duration = Duration::from_secs(5);

/// A number that changes whenever something may have been used that the engine does not know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term(pub u64);

/// An engine that several nodes share.
pub trait Engine: Send + Sync + 'static {
    /// Connects and makes itself known.
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Link>, Trouble>>;

    /// How many batches of steps may be on their way at once.
    fn batches(&self) -> usize;
}

/// One connection to an engine. What was sent and not answered may have happened or not.
pub trait Link: Send + Sync + 'static {
    /// Takes part: the first thing that is said on a connection.
    fn hello<'a>(&'a self, node: &'a Node) -> BoxFuture<'a, Result<Stand, Trouble>>;

    /// Is still there; renews the lease of the node that may go on alone.
    fn beat<'a>(&'a self, node: &'a Node) -> BoxFuture<'a, Result<Stand, Trouble>>;

    /// Has written back everything it knows.
    fn written<'a>(&'a self, node: &'a Node) -> BoxFuture<'a, Result<Stand, Trouble>>;

    /// Settles steps, each by itself all or nothing, and each by what those before it did; the answers come in their order.
    fn settle<'a>(
        &'a self,
        node: &'a Node,
        fence: Fence,
        steps: &'a [Step],
    ) -> BoxFuture<'a, Result<Vec<Settled>, Trouble>>;

    /// What slots hold, in the order asked for.
    fn look<'a>(&'a self, slots: &'a [SlotKey]) -> BoxFuture<'a, Result<Vec<Option<SlotValue>>, Trouble>>;

    /// What a note says, and whether it stays.
    fn note<'a>(&'a self, key: &'a NoteKey, then: Then) -> BoxFuture<'a, Result<Option<Vec<u8>>, Trouble>>;

    /// All sources that must sign.
    fn pins(&self) -> BoxFuture<'_, Result<Vec<IpAddr>, Trouble>>;
}

/// What becomes of a note that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays.
    Keep,
    /// It is taken: nobody reads it again.
    Take,
}

/// Who speaks to the engine.
#[derive(Clone, Debug)]
pub struct Node {
    /// This node's name.
    pub name: Box<str>,
    /// The node that may go on alone; empty if none may.
    pub alone: Box<str>,
    /// Our clock: the engine compares it with its own.
    pub clock: Wall,
    /// How long the lease of the node that may go on alone holds.
    pub lease: Duration,
    /// The engine's clock at its last answer: what arrives later than a lease after it begins none.
    pub answered: Wall,
    /// All nodes that the engine has named: an engine that has lost everything hears of them again.
    pub nodes: Vec<String>,
    /// Whether marks are known here that an empty engine should have: then it has lost some, or others have more.
    pub has_marks: bool,
}

/// Whether the engine has to be sure of the term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Only in this term, and while the lease is live.
    Term(Term),
    /// What is known from before is written back: the lease waits for it.
    WritingBack,
}

/// How things stand, as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The term.
    pub term: Term,
    /// Whether this node has written back what it knows.
    pub written: bool,
    /// Whether every node has.
    pub complete: bool,
    /// Whether the lease of the node that may go on alone is live; always, if none may.
    pub lease: bool,
    /// When the term began, by the engine's clock.
    pub since: Wall,
    /// By how much the clock of any node is ahead of the engine's, at most.
    pub ahead: Duration,
    /// The engine's clock.
    pub clock: Wall,
    /// How many sources are pinned.
    pub pins: u64,
    /// When the engine was found empty by a node that knew more and of nobody else; 1970 if never. Who else may have
    /// taken part nobody can say.
    pub unsure: Wall,
    /// All nodes that ever took part.
    pub nodes: Vec<String>,
}

/// What belongs to one request and happens at once or not at all.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// What slots hold, as far as is known, and shall hold.
    pub slots: ArrayVec<Change, SLOTS_MAX>,
    /// The answer to this request: if there is one already, nothing happens.
    pub answer: Option<Note>,
    /// What else is left for later, such as a challenge.
    pub notes: ArrayVec<Note, 2>,
    /// A note that must be there, and is taken.
    pub takes: Option<NoteKey>,
    /// A source that has shown that it signs.
    pub pin: Option<IpAddr>,
}

/// One slot of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub slot: SlotKey,
    /// What is there, as far as is known.
    pub from: Option<SlotValue>,
    /// What shall be there; `None` if it only must be as expected.
    pub to: Option<SlotValue>,
}

/// Something with an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Under which it is found.
    pub key: NoteKey,
    /// Sealed.
    pub sealed: Vec<u8>,
    /// How long it is kept.
    pub lasts: Duration,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It happened.
    Done,
    /// A slot holds something else: this is what all of them hold.
    Changed(Vec<Option<SlotValue>>),
    /// The request has its answer already; beside it, what the slots hold.
    Answered(Vec<u8>, Vec<Option<SlotValue>>),
    /// The note that it takes is gone.
    Gone,
}

/// Why the engine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It cannot be reached, or hung up.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("did not answer in time")]
    TooLate,
    /// It refused, for a reason that lies in it or in its settings.
    #[error("refused: {0}")]
    Refused(String),
    /// It answered something that we do not understand.
    #[error("answered something else than our own script does; is it used by another program or version?")]
    Unclear,
    /// It has forgotten us, or another engine answers now.
    #[error("has lost its memory, or another one answers in its place")]
    Forgotten,
    /// The term has changed.
    #[error("the term has changed")]
    OtherTerm,
    /// The node that may go on alone is not connected, so that nobody else answers.
    #[error("the node that may go on alone is not connected")]
    Fenced,
    /// Another node has been told otherwise.
    #[error("the other nodes have cluster-alone = {0:?}; it must be the same on all of them")]
    Differs(String),
}
