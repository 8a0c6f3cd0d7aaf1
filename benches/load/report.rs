//! The table: medians of the runs of each line, with the ratio to the floor of the same group.

use crate::options::Options;
use crate::processes::Processors;
use std::fmt::Write as _;
use std::time::Duration;

/// What one run came to.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Answers a second.
    pub rate: f64,
    /// Requests a second.
    pub offered: f64,
    pub p50: Duration,
    pub p99: Duration,
    pub p999: Duration,
    /// Processor time of the server for each answer, in microseconds.
    pub cpu: f64,
    /// The same by thread.
    pub threads: Vec<(String, f64)>,
    /// That of slapd beside it.
    pub beside: f64,
    /// Memory, in MiB.
    pub resident: f64,
    /// From the start of the process to its first possible answer.
    pub start: Duration,
    /// Processors that others kept busy meanwhile.
    pub foreign: f64,
    pub accepted: usize,
    pub refused: usize,
    pub forged: usize,
    pub lost: usize,
}

/// One line of the table.
pub struct Row {
    group: &'static str,
    label: String,
    runs: Vec<Figures>,
}

impl Row {
    pub fn new(group: &'static str, label: String) -> Row {
        Row { group, label, runs: Vec::new() }
    }

    pub fn add(&mut self, figures: Figures) {
        self.runs.push(figures);
    }

    /// One run as a line, while the bench goes on.
    pub fn one(&self, figures: &Figures) -> String {
        let threads: Vec<String> =
            figures.threads.iter().map(|(name, micros)| format!("{name} {micros:.1}")).collect();
        let cells = cells(figures, None).join(" | ");
        format!("{:28} {:38} {cells} [{}]", self.group, self.label, threads.join(", "))
    }

    fn median(&self) -> Figures {
        let middle = |value: fn(&Figures) -> f64| {
            let mut values: Vec<f64> = self.runs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        let time = |value: fn(&Figures) -> f64| Duration::from_secs_f64(middle(value));
        let sum = |value: fn(&Figures) -> usize| self.runs.iter().map(value).sum();
        Figures {
            rate: middle(|run| run.rate),
            offered: middle(|run| run.offered),
            p50: time(|run| run.p50.as_secs_f64()),
            p99: time(|run| run.p99.as_secs_f64()),
            p999: time(|run| run.p999.as_secs_f64()),
            cpu: middle(|run| run.cpu),
            threads: Vec::new(),
            beside: middle(|run| run.beside),
            resident: middle(|run| run.resident),
            start: time(|run| run.start.as_secs_f64()),
            foreign: middle(|run| run.foreign),
            accepted: sum(|run| run.accepted),
            refused: sum(|run| run.refused),
            forged: sum(|run| run.forged),
            lost: sum(|run| run.lost),
        }
    }
}

/// The whole table as Markdown, with the machine it was made on.
pub fn table(rows: &[Row], options: &Options) -> String {
    let mut text = String::new();
    let pinned = match options.on {
        Processors::First => "server on processor 0, generator on processor 1",
        Processors::All => "server and generator on all processors",
    };
    writeln!(
        text,
        "{}\n{} users, {} s a run, median of {}, {pinned}, loopback, every reply checked.\n",
        machine(),
        options.users,
        options.seconds,
        options.rounds
    )
    .unwrap();
    text.push_str("| pace | server | answers/s | p50 / p99 / p99.9 µs | CPU µs/answer | × floor | RSS MiB | start s | accepted / refused / forged / lost | others' load |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
    for row in rows {
        let median = row.median();
        let floor = rows.iter().find(|other| other.group == row.group && other.label == "floor");
        let floor = floor.map(|floor| floor.median().cpu);
        writeln!(text, "| {} | {} | {} |", row.group, row.label, cells(&median, floor).join(" | ")).unwrap();
    }
    text
}

fn cells(figures: &Figures, floor: Option<f64>) -> Vec<String> {
    let micros = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e6);
    let cpu = if figures.beside > 0.0 {
        format!("{:.1} + slapd {:.1}", figures.cpu, figures.beside)
    } else {
        format!("{:.1}", figures.cpu)
    };
    vec![
        if figures.offered > figures.rate * 1.05 {
            format!("{:.0} of {:.0}", figures.rate, figures.offered)
        } else {
            format!("{:.0}", figures.rate)
        },
        format!("{} / {} / {}", micros(figures.p50), micros(figures.p99), micros(figures.p999)),
        cpu,
        floor.map_or("".into(), |floor| format!("{:.2}", figures.cpu / floor)),
        format!("{:.0}", figures.resident),
        format!("{:.1}", figures.start.as_secs_f64()),
        format!("{} / {} / {} / {}", figures.accepted, figures.refused, figures.forged, figures.lost),
        format!("{:.2}", figures.foreign),
    ]
}

/// Processor, kernel and date, as they go into the documentation.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned()));
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let date = jiff::Zoned::now().strftime("%Y-%m-%d").to_string();
    format!(
        "{date}, {processors} × {}, Linux {}",
        model.unwrap_or_default(),
        read("/proc/sys/kernel/osrelease").trim()
    )
}
