//! Everything that was offered to a cluster and what came of it, and the rules that tell whether a code counted once.
//!
//! The rules know nothing of how nodes agree. They see what gateways saw (when a packet left, when which verdict came
//! back) and what each node wrote into its audit log.
//!
//! - **once**: one packet with a code is accepted, over all nodes and times. The same packet again is no second login;
//!   with a grace time for lost answers, neither is one more packet of the same login soon after it.
//! - **evidence**: who answers an accept has a line about it, and all lines together tell of one accept for a code.
//! - **locks**: when the answer that makes a lock is out, no node accepts a right code of that user; and so many refused
//!   wrong codes make one.
//! - **fair**: while nothing is broken everybody is answered, a new code is accepted, and the same packet gets the same
//!   verdict from whichever nodes it reaches.

use super::super::crash::history::Ticket;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a packet shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The code of a step.
    Right(Ticket),
    /// A code that is wrong at every time near now, of this holder.
    Wrong(usize),
}

impl Shown {
    fn holder(self) -> usize {
        match self {
            Shown::Right(ticket) => ticket.holder,
            Shown::Wrong(holder) => holder,
        }
    }
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Reject,
}

/// What the network and the servers were like while a packet waited for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Nothing was broken from before it left until after it was answered or given up.
    Fair,
    Foul,
}

/// One packet that was sent to one node. Times count from the beginning of the run.
#[derive(Clone, Debug)]
pub struct Offer {
    pub shown: Shown,
    /// The same octets from the same source carry the same number.
    pub packet: usize,
    /// What the packet names in Calling-Station-Id: the same for all packets of one login.
    pub station: usize,
    /// Which address it came from.
    pub gateway: usize,
    pub node: usize,
    pub begin: Duration,
    /// Nothing: nobody answered.
    pub answer: Option<(Duration, Verdict)>,
    pub weather: Weather,
}

impl Offer {
    fn is_accepted(&self) -> bool {
        matches!(self.answer, Some((_, Verdict::Accept)))
    }

    fn is_rejected(&self) -> bool {
        matches!(self.answer, Some((_, Verdict::Reject)))
    }
}

/// What was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    pub scope: Scope,
    /// How long after an accept another packet of the same login gets it once more.
    pub grace: Option<Duration>,
    /// Failures in a row that lock, if all are counted together; nothing, if nodes may have counted apart.
    pub max_failures: Option<usize>,
}

/// For whom a code counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// For all nodes together.
    Cluster,
    /// For each node alone, where they share nothing.
    Node,
}

/// A line of an audit log about an accept or a lock.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub node: usize,
    pub station: usize,
    pub kind: Kind,
}

/// What it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The code was used up for it.
    First,
    /// An answer that was lost, once more.
    Repeated,
    /// A refusal that locked the user.
    Locks,
}

impl Line {
    /// The accepts and the locks among the lines of a node.
    pub fn of(node: usize, audit: &[Value]) -> Vec<Line> {
        let kind = |line: &Value| match (line["outcome"].as_str(), line["reason"].as_str()) {
            (Some("accept"), Some("answer-repeated")) => Some(Kind::Repeated),
            (Some("accept"), _) => Some(Kind::First),
            _ => line["locks"].is_string().then_some(Kind::Locks),
        };
        let station = |line: &Value| {
            let station = line["calling_station"].as_str().and_then(|station| station.parse().ok());
            station.expect("every packet names its login")
        };
        audit
            .iter()
            .filter_map(|line| Some(Line { node, station: station(line), kind: kind(line)? }))
            .collect()
    }

    fn is_accept(&self) -> bool {
        self.kind != Kind::Locks
    }
}

/// Every packet of a run, in the order in which they left.
#[derive(Default)]
pub struct History {
    pub offers: Vec<Offer>,
}

impl History {
    /// The latest code of each holder that got an accept, with everything above it that was ever offered.
    pub fn spent(&self) -> Vec<Ticket> {
        let mut last: BTreeMap<usize, u64> = BTreeMap::new();
        for offer in self.offers.iter().filter(|offer| offer.is_accepted()) {
            if let Shown::Right(ticket) = offer.shown {
                let step = last.entry(ticket.holder).or_default();
                *step = ticket.step.max(*step);
            }
        }
        last.into_iter().map(|(holder, step)| Ticket { holder, step }).collect()
    }

    /// Codes that somebody got an accept for.
    pub fn accepted(&self) -> usize {
        let right = |offer: &Offer| match offer.shown {
            Shown::Right(ticket) if offer.is_accepted() => Some(ticket),
            _ => None,
        };
        self.offers.iter().filter_map(right).collect::<BTreeSet<_>>().len()
    }

    /// Everything that is wrong, with what all nodes have written about accepts.
    pub fn faults(&self, promise: Promise, lines: &[Line]) -> Vec<String> {
        let mut faults = self.twice(promise);
        faults.extend(self.without_evidence(lines));
        faults.extend(self.evidence_of_two(promise, lines));
        faults.extend(self.unlocked(promise, lines));
        faults.extend(self.unfair(promise));
        faults
    }

    fn tickets(&self) -> BTreeMap<Ticket, Vec<&Offer>> {
        let mut tickets: BTreeMap<Ticket, Vec<&Offer>> = BTreeMap::new();
        for offer in &self.offers {
            if let Shown::Right(ticket) = offer.shown {
                tickets.entry(ticket).or_default().push(offer);
            }
        }
        tickets
    }

    /// Codes that were accepted for more than one login.
    pub fn twice(&self, promise: Promise) -> Vec<String> {
        let mut faults = Vec::new();
        for (ticket, offers) in self.tickets() {
            let accepted: Vec<&Offer> = offers.into_iter().filter(|offer| offer.is_accepted()).collect();
            for group in groups(promise.scope, &accepted, |offer| offer.node) {
                if let Err(why) = one_login(promise.grace, group) {
                    faults.push(format!("{ticket:?}: {why}"));
                }
            }
        }
        faults
    }

    /// Accepts that were answered by a node which has nothing about it in its log.
    fn without_evidence(&self, lines: &[Line]) -> Vec<String> {
        let has = |node: usize, station: usize| {
            lines.iter().any(|line| line.is_accept() && (line.node, line.station) == (node, station))
        };
        let accepts = lines.iter().filter(|line| line.is_accept());
        let told: BTreeSet<(usize, usize)> = accepts.map(|line| (line.node, line.station)).collect();
        let mut faults = Vec::new();
        for offer in self.offers.iter().filter(|offer| offer.is_accepted()) {
            // The same packet may have been judged by another node, whose answer was passed on.
            let passed_on = || {
                let same = self.offers.iter().filter(|other| other.packet == offer.packet);
                same.filter(|other| other.node != offer.node).any(|other| has(other.node, other.station))
            };
            if !told.contains(&(offer.node, offer.station)) && !passed_on() {
                faults.push(format!("no line for this accept: {offer:?}"));
            }
        }
        faults
    }

    /// What the logs tell of more accepts than one, whether or not the answers arrived.
    fn evidence_of_two(&self, promise: Promise, lines: &[Line]) -> Vec<String> {
        let of_station: BTreeMap<usize, Ticket> = self
            .offers
            .iter()
            .filter_map(|offer| match offer.shown {
                Shown::Right(ticket) => Some((offer.station, ticket)),
                Shown::Wrong(_) => None,
            })
            .collect();
        let passed_on = self.passed_on();
        let in_foul = self.offers.iter().filter(|offer| offer.weather == Weather::Foul);
        let foul: BTreeSet<usize> = in_foul.map(|offer| offer.station).collect();
        let mut faults = Vec::new();
        let mut tickets: BTreeMap<Ticket, Vec<Line>> = BTreeMap::new();
        for line in lines.iter().filter(|line| line.is_accept()) {
            match of_station.get(&line.station) {
                Some(ticket) => tickets.entry(*ticket).or_default().push(*line),
                None => faults.push(format!("nobody showed a right code for {line:?}")),
            }
        }
        for (ticket, lines) in tickets {
            for group in groups(promise.scope, &lines, |line| line.node) {
                let firsts = group.iter().filter(|line| line.kind == Kind::First).count();
                let logins: BTreeSet<usize> = group.iter().map(|line| line.station).collect();
                // In foul weather a gateway sends a packet again, and a node may have forgotten that it has answered
                // it, or never have heard that it was the first: there these lines tell of one packet.
                let told = |line: &&Line| {
                    !foul.contains(&line.station) && !passed_on.contains(&(line.node, line.station))
                };
                let again = group.iter().filter(|line| line.kind == Kind::Repeated);
                let asked_again = again.filter(told).count();
                if firsts > 1 || logins.len() > 1 || asked_again > usize::from(promise.grace.is_some()) {
                    faults.push(format!("{ticket:?}: the logs tell of more than one accept: {group:?}"));
                }
            }
        }
        faults
    }

    /// Where the same packet has been at more than one node: each of them may have given the one answer to it.
    fn passed_on(&self) -> BTreeSet<(usize, usize)> {
        let mut packets: BTreeMap<usize, BTreeSet<(usize, usize)>> = BTreeMap::new();
        for offer in &self.offers {
            packets.entry(offer.packet).or_default().insert((offer.node, offer.station));
        }
        packets.into_values().filter(|places| places.len() > 1).flatten().collect()
    }

    /// Right codes that were accepted of users whom somebody had been told to be refused too often.
    fn unlocked(&self, promise: Promise, lines: &[Line]) -> Vec<String> {
        if promise.scope == Scope::Node {
            return Vec::new();
        }
        let mut faults = Vec::new();
        for (holder, locked) in self.locks(promise, lines) {
            let late = |offer: &&Offer| offer.shown.holder() == holder && offer.begin > locked;
            let passed = self.offers.iter().filter(late).filter(|offer| offer.is_accepted());
            faults.extend(passed.map(|offer| format!("locked since {locked:?}, and accepted: {offer:?}")));
        }
        faults
    }

    /// Who was locked, and when that was answered: as nodes have written, and as answers tell.
    pub fn locks(&self, promise: Promise, lines: &[Line]) -> BTreeMap<usize, Duration> {
        let said: BTreeSet<(usize, usize)> = lines
            .iter()
            .filter(|line| line.kind == Kind::Locks)
            .map(|line| (line.node, line.station))
            .collect();
        let mut locks: BTreeMap<usize, Duration> = BTreeMap::new();
        let mut failures: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
        for offer in self.offers.iter().filter(|offer| offer.is_rejected()) {
            let (Shown::Wrong(holder), Some((end, _))) = (offer.shown, offer.answer) else { continue };
            failures.entry(holder).or_default().push(end);
            if said.contains(&(offer.node, offer.station)) {
                locks.entry(holder).or_insert(end);
            }
        }
        for (holder, mut ends) in failures {
            ends.sort_unstable();
            let enough = promise.max_failures.and_then(|most| ends.get(most.checked_sub(1)?).copied());
            if let Some(end) = enough {
                let locked = locks.entry(holder).or_insert(end);
                *locked = end.min(*locked);
            }
        }
        locks
    }

    /// What healthy nodes have refused or left unanswered without a reason.
    fn unfair(&self, promise: Promise) -> Vec<String> {
        let fair = |offer: &&Offer| offer.weather == Weather::Fair;
        let silent = self.offers.iter().filter(fair).filter(|offer| offer.answer.is_none());
        let mut faults: Vec<String> = silent.map(|offer| format!("not answered: {offer:?}")).collect();
        let wronged: BTreeSet<usize> = self
            .offers
            .iter()
            .filter_map(|offer| match offer.shown {
                Shown::Wrong(holder) => Some(holder),
                Shown::Right(_) => None,
            })
            .collect();
        let mut packets: BTreeMap<usize, &Offer> = BTreeMap::new();
        for offer in self.offers.iter().filter(fair).filter(|offer| offer.answer.is_some()) {
            let first = *packets.entry(offer.packet).or_insert(offer);
            if first.is_accepted() != offer.is_accepted() {
                faults.push(format!("one packet and two verdicts: {first:?} and {offer:?}"));
            }
        }
        let mut highest: BTreeMap<usize, u64> = BTreeMap::new();
        for (ticket, offers) in self.tickets() {
            // Tickets of a holder come in rising order.
            let is_new = highest.insert(ticket.holder, ticket.step).is_none_or(|before| before < ticket.step);
            let was_fair = offers.iter().all(fair);
            let judged = is_new && was_fair && !wronged.contains(&ticket.holder);
            if judged && !offers.iter().any(|offer| offer.is_accepted()) {
                faults.push(format!("{ticket:?} was new and is refused: {offers:?}"));
            }
            if judged && promise.grace.is_some() {
                faults.extend(self.lost_for_good(promise, &offers));
            }
        }
        faults
    }

    /// Logins that asked again in time, and got another verdict.
    fn lost_for_good(&self, promise: Promise, offers: &[&Offer]) -> Vec<String> {
        let Some(grace) = promise.grace else { return Vec::new() };
        let firsts = offers.iter().filter(|offer| offer.is_accepted());
        let Some(first) = firsts.min_by_key(|offer| offer.answer.map(|(end, _)| end)) else {
            return Vec::new();
        };
        let Some((end, _)) = first.answer else { return Vec::new() };
        let again = offers.iter().filter(|offer| {
            offer.packet != first.packet
                && (offer.station, offer.gateway) == (first.station, first.gateway)
                && offer.begin > end
        });
        let mut again: Vec<&&Offer> = again.collect();
        again.sort_by_key(|offer| offer.begin);
        let due = again.first().filter(|offer| offer.answer.is_some_and(|(end_of, _)| end_of < end + grace));
        let refused = due.filter(|offer| offer.is_rejected());
        refused.map(|offer| format!("the same login got another verdict: {offer:?}")).into_iter().collect()
    }
}

/// Together, or each node by itself.
fn groups<T: Clone>(scope: Scope, all: &[T], node: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    match scope {
        Scope::Cluster => vec![all.to_vec()],
        Scope::Node => {
            let mut nodes: BTreeMap<usize, Vec<T>> = BTreeMap::new();
            all.iter().for_each(|one| nodes.entry(node(one)).or_default().push(one.clone()));
            nodes.into_values().collect()
        }
    }
}

/// Whether these accepts can be the answers to one login.
fn one_login(grace: Option<Duration>, mut accepted: Vec<&Offer>) -> Result<(), String> {
    accepted.sort_by_key(|offer| offer.answer.map(|(end, _)| end));
    let mut packets = BTreeSet::new();
    let mut repeats = 0;
    let Some(first) = accepted.first().copied() else { return Ok(()) };
    for offer in accepted {
        if !packets.insert(offer.packet) || offer.packet == first.packet {
            continue;
        }
        let Some(grace) = grace else {
            return Err(format!("accepted twice: {first:?} and {offer:?}"));
        };
        if (offer.station, offer.gateway) != (first.station, first.gateway) {
            return Err(format!("accepted for two logins: {first:?} and {offer:?}"));
        }
        repeats += 1;
        let accepted_at = first.answer.map(|(end, _)| end).unwrap_or_default();
        if repeats > 1 || offer.begin > accepted_at + grace {
            return Err(format!("accepted again too often or too late: {first:?} and {offer:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: Ticket = Ticket { holder: 1, step: 7 };
    const PLAIN: Promise = Promise { scope: Scope::Cluster, grace: None, max_failures: Some(2) };
    const NODE: Promise = Promise { scope: Scope::Node, ..PLAIN };
    const GRACE: Promise = Promise { grace: Some(Duration::from_secs(5)), ..PLAIN };

    /// A packet of its own login to node 0, accepted after a tenth of a second, in foul weather.
    fn offer(packet: usize, at: u64) -> Offer {
        let begin = Duration::from_secs(at);
        Offer {
            shown: Shown::Right(CODE),
            packet,
            station: packet,
            gateway: 0,
            node: 0,
            begin,
            answer: Some((begin + Duration::from_millis(100), Verdict::Accept)),
            weather: Weather::Foul,
        }
    }

    fn refused(offer: Offer) -> Offer {
        Offer { answer: offer.answer.map(|(end, _)| (end, Verdict::Reject)), ..offer }
    }

    fn fair(offer: Offer) -> Offer {
        Offer { weather: Weather::Fair, ..offer }
    }

    fn line(node: usize, station: usize) -> Line {
        Line { node, station, kind: Kind::First }
    }

    fn count(promise: Promise, offers: &[Offer], lines: &[Line]) -> usize {
        History { offers: offers.to_vec() }.faults(promise, lines).len()
    }

    #[test]
    fn a_code_is_accepted_once_over_all_nodes() {
        let (here, there) = (offer(0, 0), Offer { node: 1, ..offer(1, 1) });
        let both = [here.clone(), there.clone()];
        let lines = [line(0, 0), line(1, 1)];
        assert_eq!(count(PLAIN, &both, &lines), 2, "twice, as gateways and logs tell");
        assert_eq!(count(NODE, &both, &lines), 0, "each node for itself");
        let again = [here.clone(), offer(1, 1)];
        assert_eq!(count(NODE, &again, &[line(0, 0), line(0, 1)]), 2, "twice by one node");
        let lost = Offer { answer: None, ..there.clone() };
        assert_eq!(
            count(PLAIN, &[here.clone(), lost], &lines),
            1,
            "one answer was lost, and the logs tell it"
        );
        assert_eq!(count(PLAIN, &[here.clone(), refused(there)], &lines[..1]), 0, "refused as used");
        let same = Offer { node: 1, packet: 0, station: 0, ..offer(0, 1) };
        let passed_on = Line { node: 1, station: 0, kind: Kind::Repeated };
        for lines in [&[line(0, 0)][..], &[line(0, 0), passed_on], &[passed_on]] {
            let lost = Offer { answer: None, ..here.clone() };
            let first = if lines.len() == 1 && lines[0].node == 1 { lost } else { here.clone() };
            assert_eq!(count(PLAIN, &[first, same.clone()], lines), 0, "a retransmission to the other node");
        }
        let anew = [line(0, 0), line(1, 0)];
        assert_eq!(count(PLAIN, &[here.clone(), same], &anew), 1, "a retransmission that was judged anew");
        let nobody = "nobody has asked twice";
        assert_eq!(count(PLAIN, &[fair(here.clone())], &[line(0, 0), passed_on]), 1, "{nobody}");
        assert_eq!(count(PLAIN, &[here], &[line(0, 0), passed_on]), 0, "sent again in foul weather");
    }

    #[test]
    fn an_accept_has_its_line_where_it_was_answered() {
        assert_eq!(count(PLAIN, &[offer(0, 0)], &[]), 1, "none");
        assert_eq!(count(PLAIN, &[offer(0, 0)], &[line(1, 0)]), 1, "another node's");
        assert_eq!(count(PLAIN, &[offer(0, 0)], &[line(0, 0), line(0, 0)]), 1, "two");
        assert_eq!(count(PLAIN, &[Offer { answer: None, ..offer(0, 0) }], &[line(0, 0)]), 0, "a lost answer");
        assert_eq!(count(PLAIN, &[], &[line(0, 0)]), 1, "a line for nothing");
    }

    #[test]
    fn a_lost_answer_is_told_from_a_replay() {
        let again = |at: u64| Offer { node: 1, station: 0, ..offer(1, at) };
        let lines = [line(0, 0), Line { node: 1, station: 0, kind: Kind::Repeated }];
        let pair = |second: Offer| [offer(0, 0), second];
        assert_eq!(count(GRACE, &pair(again(2)), &lines), 0, "in time");
        assert_eq!(count(PLAIN, &pair(again(2)), &lines), 1, "without a grace time");
        let fairly = [fair(offer(0, 0)), fair(again(2))];
        assert_eq!(count(PLAIN, &fairly, &lines), 2, "the same in fair weather, as the logs tell too");
        assert_eq!(count(GRACE, &pair(again(9)), &lines), 1, "too late");
        let elsewhere = Offer { gateway: 1, ..again(2) };
        assert_eq!(count(GRACE, &pair(elsewhere), &lines), 1, "through another gateway");
        let other = Offer { station: 1, ..again(2) };
        let others = [line(0, 0), Line { node: 1, station: 1, kind: Kind::Repeated }];
        assert_eq!(count(GRACE, &pair(other), &others), 2, "from another station");
        let third = Offer { packet: 2, ..again(3) };
        let three = [offer(0, 0), again(2), third];
        assert_eq!(count(GRACE, &three, &lines), 1, "a third time");
        let two_lines = [line(0, 0), line(1, 0)];
        assert_eq!(count(GRACE, &pair(again(2)), &two_lines), 1, "used up twice, as the logs tell");
        let fairly = [fair(offer(0, 0)), fair(refused(again(2)))];
        assert_eq!(count(GRACE, &fairly, &lines[..1]), 1, "in time, and refused");
    }

    #[test]
    fn a_lock_holds_once_it_was_answered() {
        let wrong = |packet, at| refused(Offer { shown: Shown::Wrong(1), ..offer(packet, at) });
        let late = Offer { node: 1, ..offer(2, 5) };
        let lines = [line(1, 2)];
        assert_eq!(count(PLAIN, &[wrong(0, 0), wrong(1, 1), late.clone()], &lines), 1);
        assert_eq!(count(PLAIN, &[wrong(0, 0), late.clone()], &lines), 0, "one failure locks nobody");
        let during = Offer { begin: Duration::from_secs(1), ..late.clone() };
        assert_eq!(count(PLAIN, &[wrong(0, 0), wrong(1, 1), during], &lines), 0, "at the same moment");
        let silent = Offer { answer: None, ..wrong(1, 1) };
        assert_eq!(count(PLAIN, &[wrong(0, 0), silent, late.clone()], &lines), 0, "nobody was told");
        let apart = Promise { max_failures: None, ..PLAIN };
        let all = [wrong(0, 0), wrong(1, 1), late];
        assert_eq!(count(apart, &all, &lines), 0, "counted by nodes that knew nothing of each other");
        let said = [line(1, 2), Line { node: 0, station: 1, kind: Kind::Locks }];
        assert_eq!(count(apart, &all, &said), 1, "locked by the word of a node");
    }

    #[test]
    fn a_healthy_cluster_answers_and_takes_what_is_new() {
        assert_eq!(count(PLAIN, &[fair(refused(offer(0, 0)))], &[]), 1, "refused");
        assert_eq!(count(PLAIN, &[refused(offer(0, 0))], &[]), 0, "in foul weather");
        let silent = Offer { answer: None, ..fair(offer(0, 0)) };
        assert_eq!(count(PLAIN, &[silent], &[]), 2, "not answered, and so not accepted");
        let other = fair(refused(Offer { node: 1, packet: 0, station: 0, ..offer(0, 0) }));
        assert_eq!(
            count(PLAIN, &[fair(offer(0, 0)), other], &[line(0, 0)]),
            1,
            "two verdicts for one packet"
        );
        let used = [fair(offer(0, 0)), fair(refused(offer(1, 1)))];
        assert_eq!(count(PLAIN, &used, &[line(0, 0)]), 0, "the second one is not new");
        let doubtful = [refused(offer(0, 0)), fair(refused(offer(1, 1)))];
        assert_eq!(count(PLAIN, &doubtful, &[]), 0, "offered in foul weather before");
    }
}
