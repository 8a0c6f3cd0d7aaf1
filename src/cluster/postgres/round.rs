//! Steps as the arrays of one function call, and its rows as their answers.

use crate::cluster::engine::{Settled, Step, Trouble};
use crate::cluster::form::SlotValue;
use std::collections::HashSet;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Steps that have no slot and no note in common, so that one statement can judge all of them.
pub struct Round<'s> {
    /// With their places among all steps.
    steps: Vec<(usize, &'s Step)>,
}

impl<'s> Round<'s> {
    /// Divides steps into as few rounds as their order allows: of two that touch the same, the later waits.
    pub fn all(steps: &'s [Step]) -> Vec<Round<'s>> {
        let mut rounds: Vec<(Round<'s>, HashSet<&'s [u8]>)> = Vec::new();
        for (place, step) in steps.iter().enumerate() {
            let slots = step.slots.iter().map(|change| &change.slot.0);
            let notes = step.answer.iter().chain(&step.notes).map(|note| &note.key).chain(&step.takes);
            let touched: Vec<&[u8]> = slots.chain(notes.map(|key| &key.0)).map(|key| &key[..]).collect();
            // Behind the last round that touches the same: the order of two such steps stays.
            let after = rounds.iter().rposition(|(_, held)| touched.iter().any(|key| held.contains(key)));
            let at = after.map_or(0, |at| at + 1);
            if at == rounds.len() {
                rounds.push((Round { steps: Vec::new() }, HashSet::new()));
            }
            if let Some((round, held)) = rounds.get_mut(at) {
                round.steps.push((place, step));
                held.extend(touched);
            }
        }
        rounds.into_iter().map(|(round, _)| round).collect()
    }

    /// The arguments of `sekisho.settle`, in their order.
    pub fn arguments<'a>(
        &self,
        term: &'a Option<i64>,
        alone: &'a str,
    ) -> Vec<Box<dyn ToSql + Sync + Send + 'a>>
    where
        's: 'a,
    {
        let (mut slot_step, mut slot_key, mut slot_was, mut slot_becomes) = (vec![], vec![], vec![], vec![]);
        let (mut answer_step, mut answer_key) = (vec![], vec![]);
        let (mut note_step, mut note_key, mut note_value, mut note_ms) = (vec![], vec![], vec![], vec![]);
        let (mut take_step, mut take_key, mut pin_step, mut pin_source) = (vec![], vec![], vec![], vec![]);
        let mut number = 0_i32;
        for (_, step) in &self.steps {
            number = number.saturating_add(1);
            for change in &step.slots {
                slot_step.push(number);
                slot_key.push(&change.slot.0[..]);
                slot_was.push(change.from.as_deref());
                slot_becomes.push(change.to.as_deref());
            }
            if let Some(answer) = &step.answer {
                answer_step.push(number);
                answer_key.push(&answer.key.0[..]);
            }
            for note in step.answer.iter().chain(&step.notes) {
                note_step.push(number);
                note_key.push(&note.key.0[..]);
                note_value.push(&note.sealed[..]);
                note_ms.push(super::milliseconds(note.lasts));
            }
            if let Some(key) = &step.takes {
                take_step.push(number);
                take_key.push(&key.0[..]);
            }
            if let Some(pin) = step.pin {
                pin_step.push(number);
                pin_source.push(pin.to_string());
            }
        }
        vec![
            Box::new(term),
            Box::new(alone),
            Box::new(number),
            Box::new(slot_step),
            Box::new(slot_key),
            Box::new(slot_was),
            Box::new(slot_becomes),
            Box::new(answer_step),
            Box::new(answer_key),
            Box::new(note_step),
            Box::new(note_key),
            Box::new(note_value),
            Box::new(note_ms),
            Box::new(take_step),
            Box::new(take_key),
            Box::new(pin_step),
            Box::new(pin_source),
        ]
    }

    /// Reads what became of this round's steps into their places.
    pub fn read(&self, rows: &[Row], settled: &mut [Option<Settled>]) -> Result<(), Trouble> {
        for row in rows {
            let (number, word): (i32, i32) =
                (row.try_get(0).map_err(super::trouble)?, row.try_get(1).map_err(super::trouble)?);
            match (number, word) {
                (0, 10) => return Err(Trouble::Forgotten),
                (0, 11) => return Err(Trouble::OtherTerm),
                (0, 12) => return Err(Trouble::Fenced),
                _ => {}
            }
            let step = usize::try_from(number).ok().and_then(|number| self.steps.get(number.checked_sub(1)?));
            let (place, step) = step.ok_or(Trouble::Unclear)?;
            let answer = match word {
                0 => Settled::Done,
                1 => Settled::Changed(found(row, step)?),
                2 => {
                    let answer: Vec<u8> = row.try_get(2).map_err(super::trouble)?;
                    Settled::Answered(answer, found(row, step)?)
                }
                3 => Settled::Gone,
                _ => return Err(Trouble::Unclear),
            };
            *settled.get_mut(*place).ok_or(Trouble::Unclear)? = Some(answer);
        }
        Ok(())
    }
}

fn found(row: &Row, step: &Step) -> Result<Vec<Option<SlotValue>>, Trouble> {
    let found: Option<Vec<Option<&[u8]>>> = row.try_get(3).map_err(super::trouble)?;
    let found = found.unwrap_or_default().into_iter();
    let values: Vec<Option<SlotValue>> = found
        .map(|value| value.map(SlotValue::try_from).transpose())
        .collect::<Result<_, _>>()
        .map_err(|_| Trouble::Unclear)?;
    if values.len() == step.slots.len() { Ok(values) } else { Err(Trouble::Unclear) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::engine::Change;
    use crate::cluster::form::SlotKey;
    use crate::identity::EntryId;

    fn step(tokens: &[u8]) -> Step {
        let mut step = Step::default();
        for token in tokens {
            let slot = SlotKey::token(EntryId::new([*token; 16]));
            step.slots.push(Change { slot, from: None, to: None });
        }
        step
    }

    #[test]
    fn steps_that_touch_the_same_wait_for_each_other_in_their_order() {
        let steps = [step(&[1]), step(&[2]), step(&[1, 2]), step(&[3]), step(&[2])];
        let rounds: Vec<Vec<usize>> = Round::all(&steps)
            .iter()
            .map(|round| round.steps.iter().map(|(place, _)| *place).collect())
            .collect();
        assert_eq!(rounds, [vec![0, 1, 3], vec![2], vec![4]]);
        assert!(Round::all(&[]).is_empty());
    }
}
