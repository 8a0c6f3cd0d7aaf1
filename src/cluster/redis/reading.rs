//! Reads what the scripts answer, and nothing else: anything unexpected is an error, never a guess.

use crate::clock::Wall;
use crate::cluster::engine::{Settled, Stand, Step, Term, Trouble};
use crate::cluster::form::SlotValue;
use redis::Value;
use std::time::Duration;

/// Wall time in whole milliseconds.
pub fn milliseconds(wall: Wall) -> u64 {
    whole_milliseconds(wall.since(Wall::default()))
}

/// A length of time in whole milliseconds, at least one.
pub fn whole_milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// How things stand.
pub fn stand(said: Value) -> Result<Stand, Trouble> {
    let mut rest = opened(said)?;
    let mut next = || rest.next().as_ref().and_then(number).ok_or(Trouble::Unclear);
    let stand = Stand {
        term: Term(next()?),
        written: next()? == 1,
        complete: next()? == 1,
        lease: next()? == 1,
        since: wall(next()?),
        ahead: Duration::from_millis(next()?),
        clock: wall(next()?),
        pins: next()?,
        unsure: wall(next()?),
        nodes: Vec::new(),
    };
    let names = rest.next();
    let names = names.as_ref().and_then(octets).and_then(|names| std::str::from_utf8(names).ok());
    let nodes = names.ok_or(Trouble::Unclear)?.split_whitespace().map(str::to_owned).collect();
    Ok(Stand { nodes, ..stand })
}

/// What became of each step.
pub fn settled(said: Value, steps: &[Step]) -> Result<Vec<Settled>, Trouble> {
    let rest = opened(said)?;
    let answers: Vec<Settled> = rest
        .zip(steps)
        .map(|(said, step)| one(said, step).ok_or(Trouble::Unclear))
        .collect::<Result<_, _>>()?;
    if answers.len() == steps.len() { Ok(answers) } else { Err(Trouble::Unclear) }
}

/// What slots hold.
pub fn values(said: Value, count: usize) -> Result<Vec<Option<SlotValue>>, Trouble> {
    let Value::Array(values) = said else { return Err(Trouble::Unclear) };
    let values: Option<Vec<_>> = values.iter().map(value).collect();
    values.filter(|values| values.len() == count).ok_or(Trouble::Unclear)
}

/// The answer behind its first word, or the trouble that this word names.
fn opened(said: Value) -> Result<std::vec::IntoIter<Value>, Trouble> {
    let Value::Array(parts) = said else { return Err(Trouble::Unclear) };
    let mut parts = parts.into_iter();
    let first = parts.next();
    let word = first.as_ref().and_then(octets).unwrap_or_default();
    match word {
        b"ok" => Ok(parts),
        b"forgotten" => Err(Trouble::Forgotten),
        b"term" => Err(Trouble::OtherTerm),
        b"fenced" => Err(Trouble::Fenced),
        b"differs" => {
            let name = parts.next().as_ref().and_then(octets).unwrap_or_default().to_owned();
            Err(Trouble::Differs(String::from_utf8_lossy(&name).into_owned()))
        }
        _ => Err(Trouble::Unclear),
    }
}

fn one(said: Value, step: &Step) -> Option<Settled> {
    let parts = match said {
        Value::Array(parts) => parts,
        said => match number(&said)? {
            0 => return Some(Settled::Done),
            3 => return Some(Settled::Gone),
            _ => return None,
        },
    };
    let mut parts = parts.into_iter();
    let found = |said: Option<Value>| values(said?, step.slots.len()).ok();
    match number(&parts.next()?)? {
        1 => Some(Settled::Changed(found(parts.next())?)),
        2 => {
            let answer = octets(&parts.next()?)?.to_owned();
            Some(Settled::Answered(answer, found(parts.next())?))
        }
        _ => None,
    }
}

fn value(said: &Value) -> Option<Option<SlotValue>> {
    match said {
        Value::Nil | Value::Boolean(false) => Some(None),
        said => SlotValue::try_from(octets(said)?).ok().map(Some),
    }
}

fn octets(said: &Value) -> Option<&[u8]> {
    match said {
        Value::BulkString(octets) => Some(octets),
        Value::SimpleString(text) => Some(text.as_bytes()),
        Value::Okay => Some(b"OK"),
        _ => None,
    }
}

fn number(said: &Value) -> Option<u64> {
    match said {
        Value::Int(number) => u64::try_from(*number).ok(),
        said => std::str::from_utf8(octets(said)?).ok()?.parse().ok(),
    }
}

fn wall(milliseconds: u64) -> Wall {
    Wall::default().plus(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn nothing_but_the_form_of_our_scripts_is_read() {
        let refused = |word: &str| stand(Value::Array(vec![text(word)])).unwrap_err();
        assert!(matches!(refused("forgotten"), Trouble::Forgotten));
        assert!(matches!(refused("term"), Trouble::OtherTerm));
        assert!(matches!(refused("fenced"), Trouble::Fenced));
        assert!(matches!(refused("ok"), Trouble::Unclear));
        assert!(matches!(stand(Value::Nil), Err(Trouble::Unclear)));
        let steps = [Step::default()];
        for said in [
            Value::Array(vec![text("ok")]),
            Value::Array(vec![text("ok"), Value::Int(9)]),
            Value::Array(vec![text("ok"), Value::Array(vec![Value::Int(0)])]),
            Value::Array(vec![text("ok"), Value::Array(vec![Value::Int(1)])]),
        ] {
            assert!(settled(said, &steps).is_err());
        }
        let done = Value::Array(vec![text("ok"), Value::Int(0)]);
        assert_eq!(settled(done, &steps).unwrap(), [Settled::Done]);
    }
}
