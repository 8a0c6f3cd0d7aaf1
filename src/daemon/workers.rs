//! The threads that receive, one for each socket, the one that keeps the evidence, and the housekeeper; they and the one
//! that holds rejects are watched.

use super::gauges;
use crate::audit::Audit;
use crate::clock::{self, Mono};
use crate::http::Health;
use crate::listen::{self, Hold, Pulse, Received, Sockets, Stop};
use crate::pipeline::Outgoing;
use crate::pipeline::drive::Drive;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The long-lived threads of the daemon.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    pulses: Arc<[(String, Pulse)]>,
    stop: Stop,
}

/// A thread that has not moved for this long is stuck: all of them beat at least once a second.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);

/// How often what has run out is removed from the tables, and evidence made durable.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How often it is looked whether much evidence waits: at 100,000 answers a second 5 MiB gather in that time.
const EVIDENCE: Duration = Duration::from_millis(100);

/// Octets of evidence that do not wait for the second to end.
const MUCH_EVIDENCE: usize = 1024 * 1024;

impl Workers {
    /// Starts a worker for each socket, the keeper of the evidence and the housekeeper.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        sockets: &Sockets,
        drive: &Arc<Drive>,
        hold: &Hold<Outgoing>,
        audit: &Arc<Audit>,
        stop: &Stop,
    ) -> io::Result<Workers> {
        let (mut threads, mut pulses) = (Vec::new(), vec![("hold".to_owned(), hold.pulse().clone())]);
        for socket in sockets.all() {
            let (socket, mut desk, stop) = (socket.clone(), drive.desk(), stop.clone());
            let name = format!("worker-{}", socket.number().0);
            let pulse = Pulse::new(clock::now().mono);
            pulses.push((name.clone(), pulse.clone()));
            threads.push(std::thread::Builder::new().name(name).spawn(move || {
                listen::run(&socket, &stop, &pulse, |received| match received {
                    Received::Datagram(arrival) => desk.arrive(&arrival),
                    Received::NoMore => desk.hand_over(),
                });
            })?);
        }
        // A thread of its own, because it waits for the disk.
        let (evidence, theirs, log) = (Arc::clone(drive), stop.clone(), Arc::clone(audit));
        let pulse = Pulse::new(clock::now().mono);
        pulses.push(("evidence".into(), pulse.clone()));
        threads.push(std::thread::Builder::new().name("evidence".into()).spawn(move || {
            let mut kept = clock::now().mono;
            while !theirs.wait(EVIDENCE) {
                let now = clock::now().mono;
                if log.unsynced() >= MUCH_EVIDENCE || now.since(kept) >= HOUSEKEEPING {
                    evidence.keep_evidence();
                    kept = now;
                }
                pulse.beat(now);
            }
        })?);
        let (drive, theirs, audit) = (Arc::clone(drive), stop.clone(), Arc::clone(audit));
        let pulse = Pulse::new(clock::now().mono);
        pulses.push(("housekeeper".into(), pulse.clone()));
        threads.push(std::thread::Builder::new().name("housekeeper".into()).spawn(move || {
            while !theirs.wait(HOUSEKEEPING) {
                let now = clock::now();
                drive.keep_house(now);
                drive
                    .pipeline()
                    .set_ready(gauges::answers_leave(&drive, &audit), gauges::directory_answers(&drive));
                pulse.beat(now.mono);
            }
        })?);
        Ok(Workers { threads, pulses: pulses.into(), stop: stop.clone() })
    }

    /// Names the threads that are stuck.
    pub fn stuck(&self) -> impl Fn(Mono) -> Vec<String> + Send + Sync + use<> {
        let pulses = Arc::clone(&self.pulses);
        move |now| {
            let stuck = pulses.iter().filter(|(_, pulse)| pulse.age(now) > STUCK_AFTER);
            stuck.map(|(name, _)| name.clone()).collect()
        }
    }

    /// The same for `/healthz`.
    pub fn health(&self) -> Arc<dyn Fn() -> Health + Send + Sync> {
        let stuck = self.stuck();
        Arc::new(move || Health { stuck: stuck(clock::now().mono) })
    }

    /// The signal that ends them.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Ends all of them and waits for it.
    pub fn end(self) {
        self.stop.raise();
        for thread in self.threads {
            // A worker that panicked outside its handler has told the log already.
            let _ = thread.join();
        }
    }
}
