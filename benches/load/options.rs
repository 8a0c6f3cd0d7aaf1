//! What a run of the bench is asked to do.

use crate::processes::Processors;

pub const USAGE: &str = "\
cargo bench --bench load -- [OPTION]...
  --compare          everything in one table: several paces, FreeRADIUS where it is installed
  --in-flight N      requests in flight (64)
  --rate R           requests a second instead, whatever comes back
  --seconds N        the length of one run (3)
  --rounds N         how often each run is repeated, in alternated order (3; 1 without --compare)
  --users N          users with a token each (200000)
  --durability D     memory, relaxed or sync; memory and sync if not given
  --password P       none (the gateway has checked it) or directory (a bind for each login) (none)
  --cluster E        redis or postgres: the daemon shares one, which is started for it
  --freeradius       FreeRADIUS beside the floor and the daemon
  --disturbed        metrics read, configuration read again, the directory changing every second
  --unpinned         server and generator share all processors";

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    One,
    Compare,
}

#[derive(Debug)]
pub struct Options {
    pub wanted: Wanted,
    pub in_flight: usize,
    pub rate: Option<f64>,
    pub seconds: f64,
    pub rounds: usize,
    pub users: u32,
    pub durability: Option<&'static str>,
    pub password: &'static str,
    pub cluster: Option<&'static str>,
    pub peers: bool,
    pub disturbed: bool,
    pub on: Processors,
    /// No server answers more than this; for planning how many requests a run can use up.
    pub rate_max: f64,
    /// Memory for prepared requests and their replies: 250 octets each.
    pub requests_max: usize,
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// In words, for the first that cannot be used.
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            wanted: Wanted::One,
            in_flight: 64,
            rate: None,
            seconds: 3.0,
            rounds: 0,
            users: 200_000,
            durability: None,
            password: "none",
            cluster: None,
            peers: false,
            disturbed: false,
            on: Processors::First,
            rate_max: 400_000.0,
            requests_max: 3_000_000,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            let number = |text: String, from: f64, to: f64| {
                let number = text.parse::<f64>().ok().filter(|number| (from..=to).contains(number));
                number.ok_or_else(|| format!("{text} is not between {from} and {to}"))
            };
            let word = |text: String, words: &[&'static str]| {
                words
                    .iter()
                    .copied()
                    .find(|word| *word == text)
                    .ok_or_else(|| format!("{text} is none of {words:?}"))
            };
            match argument.as_str() {
                // What cargo itself adds.
                "--bench" => {}
                "--compare" => options.wanted = Wanted::Compare,
                "--in-flight" => options.in_flight = number(value()?, 1.0, 4096.0)? as usize,
                "--rate" => options.rate = Some(number(value()?, 1.0, 1e6)?),
                "--seconds" => options.seconds = number(value()?, 0.5, 20.0)?,
                "--rounds" => options.rounds = number(value()?, 1.0, 20.0)? as usize,
                "--users" => options.users = number(value()?, 10.0, 5e6)? as u32,
                "--durability" => options.durability = Some(word(value()?, &["memory", "relaxed", "sync"])?),
                "--password" => options.password = word(value()?, &["none", "directory"])?,
                "--cluster" => options.cluster = Some(word(value()?, &["redis", "postgres"])?),
                "--freeradius" => options.peers = true,
                "--disturbed" => options.disturbed = true,
                "--unpinned" => options.on = Processors::All,
                other => return Err(format!("{other} is not known")),
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.wanted == Wanted::Compare { 3 } else { 1 };
        }
        Ok(options)
    }
}
