//! What was offered and what came of it: decides whether a run kept the promise.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One code of one user: a counter, or a step of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    pub holder: usize,
    pub step: u64,
}

/// Every request of a run. A request is known by its number, which it carries in Calling-Station-Id.
#[derive(Default)]
pub struct History {
    offered: Vec<Ticket>,
    accepted: BTreeMap<Ticket, BTreeSet<usize>>,
}

impl History {
    /// The number of a new request with this code.
    pub fn offer(&mut self, ticket: Ticket) -> usize {
        self.offered.push(ticket);
        self.offered.len() - 1
    }

    /// A request got an Access-Accept. The same one again is the answer to a retransmission.
    pub fn accept(&mut self, number: usize) {
        self.accepted.entry(self.offered[number]).or_default().insert(number);
    }

    pub fn was_accepted(&self, ticket: Ticket) -> bool {
        self.accepted.contains_key(&ticket)
    }

    /// Every code that got an accept, those of each user latest first: what is still in reach of the window comes
    /// before what is long past, and counts as a failure.
    pub fn codes(&self) -> Vec<Ticket> {
        self.accepted.keys().rev().copied().collect()
    }

    /// The codes for which two requests were answered with an accept.
    pub fn twice(&self) -> Vec<String> {
        let many = self.accepted.iter().filter(|(_, numbers)| numbers.len() > 1);
        many.map(|(ticket, numbers)| format!("{ticket:?} was accepted for the requests {numbers:?}"))
            .collect()
    }

    /// Everything that is wrong, with the audit log as it was found at the end: a code accepted twice, whether or not
    /// the answers arrived, and an accept without its line.
    pub fn faults(&self, audit: &[Value]) -> Vec<String> {
        let mut faults = self.twice();
        let mut lines: BTreeMap<Ticket, BTreeSet<usize>> = BTreeMap::new();
        for record in audit.iter().filter(|record| record["outcome"] == "accept") {
            let number = record["calling_station"].as_str().and_then(|number| number.parse::<usize>().ok());
            match number.and_then(|number| Some((number, *self.offered.get(number)?))) {
                Some((number, ticket)) if lines.entry(ticket).or_default().insert(number) => {}
                Some((number, ticket)) => faults.push(format!("{ticket:?}: request {number} has two lines")),
                None => faults.push(format!("nobody sent what this line accepts: {record}")),
            }
        }
        let many = lines.iter().filter(|(_, numbers)| numbers.len() > 1);
        faults.extend(many.map(|(ticket, numbers)| {
            format!("{ticket:?} has lines of an accept for the requests {numbers:?}")
        }));
        for (ticket, numbers) in &self.accepted {
            let missing =
                numbers.iter().filter(|number| !lines.get(ticket).is_some_and(|of| of.contains(number)));
            faults.extend(missing.map(|number| format!("{ticket:?}: no line for the accept of {number}")));
        }
        faults
    }
}

#[test]
fn the_history_tells_what_is_wrong_from_what_is_not() {
    let (first, second) = (Ticket { holder: 1, step: 7 }, Ticket { holder: 1, step: 8 });
    let line =
        |number: usize| serde_json::json!({ "outcome": "accept", "calling_station": number.to_string() });
    // Requests 0, 1 and 3 carry one code, 2 another.
    let faults = |accepts: &[usize], lines: &[usize]| {
        let mut history = History::default();
        [first, first, second, first].into_iter().for_each(|ticket| _ = history.offer(ticket));
        accepts.iter().for_each(|number| history.accept(*number));
        history.faults(&lines.iter().map(|number| line(*number)).collect::<Vec<_>>()).len()
    };
    assert_eq!(faults(&[0, 0, 2], &[0, 2]), 0, "a retransmission is answered as before");
    assert_eq!(faults(&[2], &[0, 2]), 0, "an answer was lost");
    assert_eq!(faults(&[0, 3], &[0, 3]), 2, "accepted twice, as both sides tell");
    assert_eq!(faults(&[0], &[0, 1]), 1, "accepted twice, though one answer was lost");
    assert_eq!(faults(&[0, 2], &[2]), 1, "an accept without its line");
    assert_eq!(faults(&[0], &[0, 0]), 1, "a line twice");
    assert_eq!(faults(&[], &[9]), 1, "a line for nothing");
}
