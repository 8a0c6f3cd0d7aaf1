//! Writes steps as the arguments of `settle.lua`, whose first lines say what they are.

use super::reading;
use crate::cluster::engine::{Fence, Node, Note, Step};
use redis::ScriptInvocation;

/// Before every key.
const PREFIX: [u8; 8] = *b"sekisho:";

/// A slot's or a note's key as it stands in the server.
pub fn in_full(key: &[u8; 17]) -> [u8; 25] {
    let mut full = [0; 25];
    full.iter_mut().zip(PREFIX.iter().chain(key)).for_each(|(to, from)| *to = *from);
    full
}

/// Everything that the script is told.
pub fn settle(call: &mut ScriptInvocation<'_>, node: &Node, fence: Fence, steps: &[Step]) {
    match fence {
        Fence::Term(term) => call.arg(term.0),
        Fence::WritingBack => call.arg(&b""[..]),
    };
    let keys = steps.iter().flat_map(|step| {
        let slots = step.slots.iter().map(|change| &change.slot.0);
        slots.chain(step.answer.iter().map(|answer| &answer.key.0)).chain(step.takes.iter().map(|key| &key.0))
    });
    call.arg(node.alone.as_bytes()).arg(keys.clone().count());
    for key in keys {
        call.arg(&in_full(key));
    }
    for step in steps {
        write(call, step);
    }
}

fn write(call: &mut ScriptInvocation<'_>, step: &Step) {
    // Eight tokens and a user, and two notes: none of these is ever more than an octet.
    let count = |length: usize| u8::try_from(length).unwrap_or(u8::MAX);
    call.arg(&[
        count(step.slots.len()),
        step.answer.is_some().into(),
        count(step.notes.len()),
        step.takes.is_some().into(),
        step.pin.is_some().into(),
    ]);
    for change in &step.slots {
        call.arg(change.from.as_deref().unwrap_or_default()).arg(change.to.as_deref().unwrap_or_default());
    }
    let lasts = |note: &Note| reading::whole_milliseconds(note.lasts);
    if let Some(answer) = &step.answer {
        call.arg(&answer.sealed[..]).arg(lasts(answer));
    }
    for note in &step.notes {
        call.arg(&in_full(&note.key.0)).arg(&note.sealed[..]).arg(lasts(note));
    }
    if let Some(source) = step.pin {
        call.arg(source.to_string());
    }
}
