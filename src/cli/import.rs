//! `sekisho token import`: the tokens of a file, with or without their users, all or none.

use super::command::{Format, TokenImport};
use super::output::{complain, print};
use super::progress::Progress;
use super::remote::{ask, ended, print_json, read_line};
use super::{Exit, Failure};
use crate::admin::protocol::{Ask, Imported, Kind, Mode, PAGE_MAX, Password, Question, Refused, Told};
use crate::clock::Wall;
use crate::formats::pskc::{self, Opening, PskcProblem};
use crate::formats::{Described, FILE_MAX, Problem, Reading, read_csv, read_otpauth, read_owners};
use crate::otp::uri::KeyMoving;
use crate::secret::Secret;
use data_encoding::{BASE32_NOPAD, HEXLOWER_PERMISSIVE};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::io::Read as _;
use std::path::Path;
use zeroize::Zeroizing;

/// The word for a serial number that is there already.
const TAKEN: &str = "it is in the directory already";

/// Imports a file.
pub fn run(arguments: &TokenImport) -> Result<Exit, Failure> {
    let octets = content(&arguments.file)?;
    let mut reading = read(arguments.format, &octets)?;
    drop(octets);
    let mut refused: Vec<String> = reading.refused.iter().map(ToString::to_string).collect();
    refused.extend(name_users(arguments, &mut reading.tokens)?);
    let known = known_serials(arguments)?;
    let Some(known) = known else { return Ok(Exit::Refused) };
    let users: Vec<Described>;
    (users, reading.tokens) = reading.tokens.into_iter().partition(|token| token.user.is_some());
    let (taken, fresh): (Vec<Described>, Vec<Described>) =
        reading.tokens.into_iter().partition(|token| known.contains(token.serial.as_str()));
    refused.extend(taken.iter().map(|token| format!("{}: {TAKEN}", named(token))));
    // Of those who have a user the daemon knows whether they are there because of an earlier import of the same.
    let (fresh, twice) = one_each(fresh.into_iter().chain(users));
    refused.extend(twice);

    // What the daemon would refuse is known before anything is done.
    let mut imported = Vec::new();
    let mut progress = Progress::new("checking", Some(fresh.len()));
    for (token, done) in fresh.iter().zip(0..) {
        progress.at(done);
        match put(arguments, token, Mode::DryRun)? {
            Told::WouldDo { .. } => imported.push(token),
            Told::Refused(Refused { why, kind, .. }) if kind != Kind::Unavailable => {
                refused.push(format!("{}: {why}", named(token)));
            }
            other => return ended(other, arguments.acting.json),
        }
    }
    drop(progress);
    refused.iter().for_each(|line| complain(line));
    if !refused.is_empty() && !arguments.good_only {
        complain("nothing was imported; mend the file, or take what is good with --good-only");
        return Ok(Exit::Refused);
    }
    if arguments.acting.dry_run {
        return say(arguments, "would import", imported.len(), refused.len());
    }
    let mut progress = Progress::new("importing", Some(imported.len()));
    let mut late = Vec::new();
    for (token, done) in imported.iter().zip(0_usize..) {
        progress.at(done);
        match put(arguments, token, Mode::Do)? {
            Told::Done { .. } => {}
            // Somebody was faster since the check; the others have nothing to do with it.
            Told::Refused(Refused { why, kind, .. }) if kind != Kind::Unavailable => {
                late.push(format!("{}: {why}", named(token)));
            }
            other => {
                drop(progress);
                late.iter().for_each(|line| complain(line));
                let rest = "import the rest with --good-only, which passes over what is there";
                let came = done.saturating_sub(late.len());
                complain(&format!("{came} of {} tokens came in; {rest}", imported.len()));
                return ended(other, arguments.acting.json);
            }
        }
    }
    drop(progress);
    late.iter().for_each(|line| complain(line));
    let came = imported.len().saturating_sub(late.len());
    let exit = say(arguments, "imported", came, refused.len().saturating_add(late.len()))?;
    Ok(if late.is_empty() { exit } else { Exit::Refused })
}

/// A token of the file, for a line about it.
fn named(token: &Described) -> String {
    format!("{}: token {}", token.place, token.serial)
}

/// Leaves each token the user whom it is bound to, if it is to be bound to any; gives what is wrong with the list of them.
fn name_users(arguments: &TokenImport, tokens: &mut [Described]) -> Result<Vec<String>, Failure> {
    let Some(file) = &arguments.users else {
        if !arguments.bind {
            let with = tokens.iter_mut().filter_map(|token| token.user.take()).count();
            if with > 0 {
                complain(&format!("{with} tokens name a user, who is left out; --bind binds them"));
            }
        }
        return Ok(Vec::new());
    };
    let mut owners = read_owners(&content(file)?);
    tokens.iter_mut().for_each(|token| token.user = owners.users.remove(&token.serial));
    Ok(owners.refused.iter().map(|refused| format!("{}, {refused}", file.display())).collect())
}

/// Those who come first for their users, and the others: a user has one token.
fn one_each(tokens: impl Iterator<Item = Described>) -> (Vec<Described>, Vec<String>) {
    let (mut first, mut twice) = (Vec::new(), Vec::new());
    let mut users: HashMap<String, String> = HashMap::new();
    for token in tokens {
        match token.user.as_ref().and_then(|user| users.insert(user.to_lowercase(), named(&token))) {
            None => first.push(token),
            Some(other) => {
                twice.push(format!(
                    "{}: its user is given another one ({other}); a user has one",
                    named(&token)
                ));
            }
        }
    }
    (first, twice)
}

fn say(arguments: &TokenImport, verb: &str, tokens: usize, refused: usize) -> Result<Exit, Failure> {
    if arguments.acting.json {
        return print_json(&json!({ verb.replace(' ', "_"): tokens, "refused": refused }));
    }
    print(&format!("{verb} {tokens} tokens, {refused} refused\n"))?;
    Ok(Exit::Done)
}

/// The file, within its bound.
fn content(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error| Failure::Io(path.display().to_string(), error);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut octets = Zeroizing::new(Vec::new());
    // One octet more than may be: the reader says that it is too large.
    let bound = u64::try_from(FILE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut octets).map_err(failed)?;
    Ok(octets)
}

/// The tokens of the file. A password or a key is asked for if the file turns out to need one.
fn read(format: Format, octets: &[u8]) -> Result<Reading, Failure> {
    let reading = match format {
        Format::Csv => return Ok(read_csv(octets)),
        Format::Otpauth => return Ok(read_otpauth(octets)),
        Format::Pskc => pskc::read(octets, &Opening::Nothing),
    };
    let needs = |wanted: fn(&PskcProblem) -> bool| {
        reading
            .refused
            .iter()
            .any(|refused| matches!(&refused.why, Problem::Pskc(problem) if wanted(problem)))
    };
    if needs(|problem| matches!(problem, PskcProblem::PasswordNeeded)) {
        let password = read_line("password of the file")?;
        return Ok(pskc::read(octets, &Opening::Password(Secret::new(password.0.as_bytes()))));
    }
    if needs(|problem| matches!(problem, PskcProblem::PreSharedKeyNeeded(_))) {
        let key = read_line("pre-shared key of the file, hexadecimal")?;
        return Ok(pskc::read(octets, &Opening::PreShared(pre_shared(&key)?)));
    }
    Ok(reading)
}

/// A pre-shared key as people write it.
pub fn pre_shared(text: &Password) -> Result<Secret, Failure> {
    let digits: Zeroizing<String> =
        Zeroizing::new(text.0.chars().filter(|c| !c.is_whitespace() && *c != ':').collect());
    let octets = HEXLOWER_PERMISSIVE
        .decode(digits.as_bytes())
        .ok()
        .filter(|octets| [16, 24, 32].contains(&octets.len()));
    let right = "the pre-shared key must be 32, 48 or 64 hexadecimal digits";
    octets.map(Secret::new).ok_or_else(|| Failure::Usage(right.into()))
}

/// Every serial number that is there; `None` after a refusal, which has been told.
fn known_serials(arguments: &TokenImport) -> Result<Option<BTreeSet<String>>, Failure> {
    let (mut known, mut after) = (BTreeSet::new(), None);
    loop {
        let list = Ask::TokenList { user: None, state: None, after, limit: Some(PAGE_MAX) };
        let acting = &arguments.acting;
        let question = Question { ask: list, actor: acting.actor.clone(), mode: Mode::Do };
        match ask(&acting.daemon, &question)? {
            Told::Tokens { tokens, next } => {
                known.extend(tokens.into_iter().map(|token| token.serial));
                after = next;
            }
            other => return ended(other, arguments.acting.json).map(|_| None),
        }
        if after.is_none() {
            return Ok(Some(known));
        }
    }
}

fn put(arguments: &TokenImport, token: &Described, mode: Mode) -> Result<Told, Failure> {
    let (period, counter) = match token.moving {
        KeyMoving::Time { period } => (Some(period.seconds()), None),
        KeyMoving::Counter { next } => (None, Some(next)),
    };
    let imported = Imported {
        serial: token.serial.to_string(),
        key: Password(BASE32_NOPAD.encode(token.secret.expose())),
        algorithm: token.algorithm.text().into(),
        digits: u64::try_from(token.digits.count()).unwrap_or(0),
        period,
        counter,
        service: arguments.service.clone(),
        user: token.user.as_deref().map(str::to_owned),
        begins: token.begins.map(time),
        ends: token.ends.map(time),
    };
    let acting = &arguments.acting;
    let question = Question { ask: Ask::TokenImport(imported), actor: acting.actor.clone(), mode };
    ask(&acting.daemon, &question)
}

fn time(time: Wall) -> String {
    let seconds = i64::try_from(time.seconds()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}
