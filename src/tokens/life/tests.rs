//! The life of a token as tables: every stage with every event, every pair of an exchange, every date.

use super::*;
use crate::tokens::Setup;
use std::time::Duration;

fn at(seconds: u64) -> Wall {
    Wall::from_seconds(seconds)
}

/// Rows are stages, columns events; a word is the stage after, a word in capitals a refusal.
const TABLE: &str = "
              issue         adopt         set-up         confirm        register      lock          release    revoke        wait-over  stop           suspend        resume        expire         renew          resync
none          issued        set-up        NO-SETUP       NO-TOKEN       active        NO-TOKEN      NOT-LOCKED NO-TOKEN      NOT-WAITING NO-TOKEN      NO-TOKEN       NO-TOKEN      NO-TOKEN       NO-TOKEN       NO-TOKEN
inventory     NOT-BOUND     NOT-BOUND     NOT-BOUND      NOT-BOUND      active        NOT-BOUND     NOT-BOUND  revoked       NOT-WAITING NOT-BOUND     NOT-BOUND      NOT-BOUND     NOT-BOUND      NOT-BOUND      NOT-BOUND
issued        issued        set-up        set-up         NOT-SET-UP     active        NOT-SET-UP    NOT-LOCKED revoked       NOT-WAITING NOT-SET-UP    NOT-SET-UP     NOT-SET-UP    NOT-SET-UP     NOT-SET-UP     NOT-SET-UP
set-up        issued        set-up        ALREADY        active         active        NOT-CONFIRMED NOT-LOCKED revoked       NOT-WAITING NOT-CONFIRMED NOT-CONFIRMED  NOT-CONFIRMED NOT-CONFIRMED  NOT-CONFIRMED  NOT-CONFIRMED
active        THERE         THERE         ALREADY        ACTIVE         THERE         locked        NOT-LOCKED revoked       NOT-WAITING none          suspended      NOT-SUSPENDED expired        active         active
locked        LOCKED        LOCKED        ALREADY        LOCKED         LOCKED        locked        active     revoked       NOT-WAITING LOCKED        suspended      LOCKED        expired        LOCKED         locked
suspended     SUSPENDED     SUSPENDED     SUSPENDED      SUSPENDED      SUSPENDED     SUSPENDED     SUSPENDED  revoked       NOT-WAITING SUSPENDED     SUSPENDED      active        SUSPENDED      SUSPENDED      SUSPENDED
expired       EXPIRED       EXPIRED       ALREADY        EXPIRED        EXPIRED       EXPIRED       EXPIRED    revoked       NOT-WAITING EXPIRED       suspended      EXPIRED       expired        active         EXPIRED
revoked       WAITING       WAITING       REVOKED        REVOKED        WAITING       REVOKED       REVOKED    REVOKED       none        REVOKED       REVOKED        REVOKED       REVOKED        REVOKED        REVOKED
replaced      REPLACED      REPLACED      REPLACED       REPLACED       REPLACED      REPLACED      REPLACED   revoked       NOT-WAITING REPLACED      REPLACED       REPLACED      REPLACED       REPLACED       REPLACED
";

fn refused(word: &str) -> Refusal {
    match word {
        "NO-TOKEN" => Refusal::NoToken,
        "NOT-BOUND" => Refusal::NotBound,
        "THERE" => Refusal::TokenThere,
        "NOT-SET-UP" => Refusal::NotSetUp,
        "NOT-CONFIRMED" => Refusal::NotConfirmed,
        "ALREADY" => Refusal::SetUpAlready,
        "NO-SETUP" => Refusal::NoSetup,
        "ACTIVE" => Refusal::ActiveAlready,
        "LOCKED" => Refusal::Locked,
        "NOT-LOCKED" => Refusal::NotLocked,
        "SUSPENDED" => Refusal::Suspended,
        "NOT-SUSPENDED" => Refusal::NotSuspended,
        "EXPIRED" => Refusal::Expired,
        "REVOKED" => Refusal::Revoked,
        "WAITING" => Refusal::Waiting,
        "REPLACED" => Refusal::Replaced,
        "NOT-WAITING" => Refusal::NotWaiting,
        other => panic!("{other} is no refusal"),
    }
}

#[test]
fn every_event_at_every_stage() {
    let rows: Vec<Vec<&str>> = TABLE
        .lines()
        .skip(2)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| !row.is_empty())
        .collect();
    assert_eq!(rows.len(), Stage::ALL.len());
    for (row, stage) in rows.iter().zip(Stage::ALL) {
        assert_eq!((row[0], row.len()), (stage.text(), Event::ALL.len() + 1));
        for (word, event) in row[1..].iter().zip(Event::ALL) {
            let expected = Stage::parse(word).ok_or_else(|| refused(word));
            assert_eq!(after(stage, event), expected, "{stage:?} and {event:?}");
        }
    }
}

#[test]
fn s_21_an_exchange_takes_a_working_token_and_a_free_one_and_can_be_undone_until_the_new_one_is_used() {
    for old in Stage::ALL {
        for new in Stage::ALL {
            let exchanged = exchange(old, new);
            let fits = (old, new) == (Stage::Active, Stage::Inventory);
            assert_eq!(exchanged.is_ok(), fits, "{old:?} {new:?}");
            if fits {
                assert_eq!(exchanged, Ok((Stage::Replaced, Stage::Active)));
            }
            let undone = undo_exchange(old, new, Used::NotYet);
            let fits = old == Stage::Replaced && matches!(new, Stage::Active | Stage::Locked);
            assert_eq!(undone.is_ok(), fits, "undo {old:?} {new:?}");
            assert!(undo_exchange(old, new, Used::Since).is_err(), "{old:?} {new:?}");
        }
    }
    assert_eq!(exchange(Stage::Expired, Stage::Inventory), Err(Refusal::Expired));
    assert_eq!(exchange(Stage::Active, Stage::Active), Err(Refusal::NotFree));
    assert_eq!(undo_exchange(Stage::Replaced, Stage::Active, Used::Since), Err(Refusal::NewTokenUsed));
}

#[test]
fn the_stage_is_told_from_state_dates_and_lock() {
    let place = Position { state: Some(State::Active), ends: Some(at(100)), ..Position::default() };
    let locked = Position { lock: Lock::Locked, ..place };
    let revoked = Position { state: Some(State::Revoked), opens: Some(at(50)), ..Position::default() };
    let former = Position { place: Place::Former, ..place };
    for (position, now, stage) in [
        (Position::default(), 0, Stage::None),
        (place, 99, Stage::Active),
        (place, 100, Stage::Expired),
        (locked, 99, Stage::Locked),
        (locked, 100, Stage::Expired),
        (revoked, 49, Stage::Revoked),
        (revoked, 50, Stage::None),
        (former, 0, Stage::Replaced),
    ] {
        assert_eq!(position.stage(at(now)), stage, "{position:?} at {now}");
    }
    for state in State::ALL.into_iter().filter(|state| *state != State::Revoked) {
        let position = Position { state: Some(state), ..Position::default() };
        assert_eq!(position.stage(at(0)).text(), state.text());
    }
}

#[test]
fn s_24_a_token_is_renewed_from_thirty_days_before_its_end_and_after_it() {
    const DAY: u64 = 86_400;
    let (month, year) = (Duration::from_secs(30 * DAY), Duration::from_secs(365 * DAY));
    let end = at(1000 * DAY);
    for (now, renewed) in [
        (969 * DAY, Err(Refusal::TooEarly)),
        (970 * DAY - 1, Err(Refusal::TooEarly)),
        (970 * DAY, Ok(at(1365 * DAY))),
        (1000 * DAY - 1, Ok(at(1365 * DAY))),
        (1000 * DAY, Ok(at(1365 * DAY))),
        (1200 * DAY, Ok(at(1565 * DAY))),
    ] {
        assert_eq!(renewed_end(Some(end), Some(year), month, at(now)), renewed, "{now}");
    }
    assert_eq!(renewed_end(None, Some(year), month, at(0)), Err(Refusal::NoEnd));
    assert_eq!(renewed_end(Some(end), None, month, at(999 * DAY)), Err(Refusal::NoEnd));
}

#[test]
fn s_14_wrong_start_passwords_are_counted_and_end_the_setup() {
    let mut setup = Setup {
        service_id: "1".into(),
        user_id: "2".into(),
        start_password: "$argon2id$".into(),
        failures: 0,
        until: at(100),
    };
    assert_eq!(try_setup(&setup, true, at(99)), Ok(Tried::Right));
    assert_eq!(try_setup(&setup, true, at(100)), Err(Refusal::NoSetup));
    for failures in 1..setup::TRIES_MAX {
        let Ok(Tried::Wrong(Some(next))) = try_setup(&setup, false, at(0)) else { panic!("{failures}") };
        assert_eq!(next.failures, failures);
        setup = next;
    }
    assert_eq!(try_setup(&setup, true, at(0)), Ok(Tried::Right), "four were wrong, the fifth may be right");
    assert_eq!(try_setup(&setup, false, at(0)), Ok(Tried::Wrong(None)), "the fifth wrong one ends it");
}

#[test]
fn every_refusal_has_its_own_word_and_says_what_would_be_right() {
    let words: std::collections::HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.word()).collect();
    assert_eq!(words.len(), Refusal::ALL.len());
    assert!(Refusal::ALL.iter().all(|refusal| refusal.to_string().len() > 15));
}
