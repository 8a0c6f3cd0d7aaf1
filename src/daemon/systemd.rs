//! What systemd and we tell each other: readiness, watchdog, sockets that it opened; and no core dumps.
//!
//! Without systemd everything here does nothing. A notice that cannot be sent is logged and forgotten: systemd has its
//! own time limits.

use crate::clock::{self, Mono};
use crate::listen::Stop;
use rustix::process::{
    DumpableBehavior, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, getpid, pidfd_getfd, pidfd_open,
    set_dumpable_behavior, setrlimit,
};
use sd_notify::NotifyState;
use socket2::{Domain, SockRef, Type};
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// What the daemon is doing, for `systemctl` and for units that wait for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Sockets, the first complete map and the clock are there (SEC-20). Also ends a reload.
    Ready,
    /// The configuration is being read anew; followed by [`Phase::Ready`] whether it was taken or not.
    Reloading,
    /// No longer receiving, finishing what is under way.
    Stopping,
}

/// Tells systemd the phase and, for `systemctl status`, what it means just now.
pub fn notify(phase: Phase, status: &str) {
    let status = one_line(status);
    let status = NotifyState::Status(&status);
    match phase {
        Phase::Ready => send(&[NotifyState::Ready, status]),
        // `Type=notify-reload` ends a service whose reload comes without the time.
        Phase::Reloading => match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now, status]),
            Err(error) => tracing::debug!(%error, "no monotonic time for systemd"),
        },
        Phase::Stopping => send(&[NotifyState::Stopping, status]),
    }
}

/// Tells systemd that the start goes on: it shall wait twice as long as we do for the next sign of life.
pub fn starting(text: &str, patience: Duration) {
    let wait = u32::try_from(patience.saturating_mul(2).as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::Status(&one_line(text)), NotifyState::ExtendTimeoutUsec(wait)]);
}

/// Changes what `systemctl status` shows.
pub fn status(text: &str) {
    send(&[NotifyState::Status(&one_line(text))]);
}

/// Within which time systemd wants to hear from us; `None` without `WatchdogSec=`.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|within| !within.is_zero())
}

/// Feeds the watchdog twice per interval until `stop` is raised, as long as `stuck` finds nothing: a loop that does not
/// come round lets systemd restart us (SEC-20). Blocks; for a thread of its own.
pub fn feed_watchdog(within: Duration, stop: &Stop, stuck: impl Fn(Mono) -> Vec<String>) {
    loop {
        let found = stuck(clock::now().mono);
        if found.is_empty() {
            send(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(
                stuck = found.join("; "),
                "the watchdog is not fed: systemd will restart the daemon"
            );
        }
        if stop.wait(within / 2) {
            return;
        }
    }
}

/// A socket that systemd opened for us, with the name from `FileDescriptorName=`.
#[derive(Debug)]
pub struct Handed {
    /// `FileDescriptorName=`, or the name of the socket unit.
    pub name: String,
    /// The socket.
    pub socket: HandedSocket,
}

/// What kind of socket was handed over.
#[derive(Debug)]
pub enum HandedSocket {
    /// `ListenDatagram=` with an address: RADIUS.
    Udp(UdpSocket),
    /// `ListenStream=` with an address: HTTP or RadSec.
    Tcp(TcpListener),
    /// `ListenStream=` with a path: administration.
    Unix(UnixListener),
}

/// Why the sockets of systemd cannot be used: the socket unit or the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum HandedError {
    /// The environment variables contradict themselves.
    #[error("LISTEN_PID, LISTEN_FDS or LISTEN_FDNAMES cannot be read: {0}")]
    Environment(io::Error),
    /// The kernel or the sandbox refused.
    #[error(
        "the socket {name} cannot be taken over: {cause}; the unit must allow pidfd_open and pidfd_getfd \
         (SystemCallFilter=@system-service pidfd_open pidfd_getfd)"
    )]
    Refused {
        /// The socket's name.
        name: String,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Nothing that we could serve.
    #[error("the socket {0} is neither a UDP socket nor a listening TCP or Unix socket")]
    Kind(String),
}

/// Takes the sockets that systemd handed over (socket activation, `sd_listen_fds(3)`); none without it.
///
/// Each is a duplicate made by the kernel, because a bare number can only be trusted to be a descriptor by `unsafe`.
/// The originals stay open beside them, which nobody notices: both are one socket.
///
/// # Errors
///
/// If what was handed over cannot be used; nothing is served then, because an administrator would wait for it.
pub fn handed_over() -> Result<Vec<Handed>, HandedError> {
    let numbers = sd_notify::listen_fds().map_err(HandedError::Environment)?;
    if numbers.len() == 0 {
        return Ok(Vec::new());
    }
    let named = sd_notify::listen_fds_with_names().map_err(HandedError::Environment)?;
    let refused = |name: &str, cause: rustix::io::Errno| HandedError::Refused {
        name: name.into(),
        cause: cause.into(),
    };
    let ourselves = pidfd_open(getpid(), PidfdFlags::empty()).map_err(|cause| refused("(any)", cause))?;
    named
        .map(|(number, name)| {
            let fd = pidfd_getfd(&ourselves, number, PidfdGetfdFlags::empty())
                .map_err(|cause| refused(&name, cause))?;
            let socket = kind(fd).ok_or_else(|| HandedError::Kind(name.clone()))?;
            Ok(Handed { name, socket })
        })
        .collect()
}

fn kind(fd: OwnedFd) -> Option<HandedSocket> {
    let (domain, r#type, listens) = {
        let socket = SockRef::from(&fd);
        (socket.domain().ok()?, socket.r#type().ok()?, socket.is_listener().ok()?)
    };
    let internet = domain == Domain::IPV4 || domain == Domain::IPV6;
    match (internet, r#type, listens) {
        (true, Type::DGRAM, _) => Some(HandedSocket::Udp(fd.into())),
        (true, Type::STREAM, true) => Some(HandedSocket::Tcp(fd.into())),
        (false, Type::STREAM, true) if domain == Domain::UNIX => Some(HandedSocket::Unix(fd.into())),
        _ => None,
    }
}

/// Forbids core dumps and reading our memory by other processes of the same user: keys and passwords are in it (SEC-07).
///
/// # Errors
///
/// When the kernel refuses; then the daemon should not load any key.
pub fn forbid_core_dumps() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

/// A line break in the text would begin a notice of its own.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Environment variables cannot be set safely inside a test, so these tests run this program again as a child that has
/// them: the children are the ignored tests.
#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::process::{Command, Stdio};

    const CHILD: &str = "SEKISHO_TEST_CHILD";

    fn child(name: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact"]).arg(format!("daemon::systemd::tests::{name}"));
        command.env(CHILD, "").stdout(Stdio::piped());
        command
    }

    fn is_child() -> bool {
        std::env::var_os(CHILD).is_some()
    }

    #[test]
    fn sec_20_systemd_hears_of_every_phase() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        systemd.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let output = child("child_notifies")
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "3000000")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| last != "STATUS=end\n") {
            let mut room = [0; 256];
            let len = systemd.recv(&mut room).unwrap();
            heard.push(String::from_utf8(room[..len].to_vec()).unwrap());
        }
        assert_eq!(heard.remove(0), "READY=1\nSTATUS=serving READY=0\n", "one line whatever the text");
        assert!(heard.remove(0).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(heard, ["STOPPING=1\nSTATUS=\n", "WATCHDOG=1\n", "STATUS=end\n"]);
    }

    #[test]
    fn child_notifies() {
        if !is_child() {
            return;
        }
        notify(Phase::Ready, "serving\nREADY=0");
        notify(Phase::Reloading, "");
        notify(Phase::Stopping, "");
        let within = watchdog().unwrap();
        assert_eq!(within, Duration::from_secs(3));
        let stop = Stop::new().unwrap();
        stop.raise();
        feed_watchdog(within, &stop, |_| vec!["worker 1 is stuck".into()]);
        feed_watchdog(within, &stop, |_| Vec::new());
        status("end");
    }

    #[test]
    fn sockets_of_systemd_are_taken_over() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let expected = format!("{} {}", udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        let test = std::env::current_exe().unwrap();
        // The shell puts the two where systemd would and becomes the child.
        let output = Command::new("sh")
            .args(["-c", "exec 3<&0 4<&2 2>/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"", "sh"])
            .arg(test)
            .args(["--exact", "daemon::systemd::tests::child_takes_over"])
            .env("LISTEN_FDNAMES", "radius:http")
            .env(CHILD, "")
            .env("EXPECTED", expected)
            .stdin(OwnedFd::from(udp))
            .stderr(OwnedFd::from(tcp))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    #[test]
    fn child_takes_over() {
        if !is_child() {
            return;
        }
        forbid_core_dumps().unwrap();
        let handed = handed_over().unwrap();
        let names: Vec<&str> = handed.iter().map(|handed| handed.name.as_str()).collect();
        assert_eq!(names, ["radius", "http"]);
        let [HandedSocket::Udp(udp), HandedSocket::Tcp(tcp)] = [&handed[0].socket, &handed[1].socket] else {
            panic!("{handed:?}");
        };
        let addresses = format!("{} {}", udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        assert_eq!(addresses, std::env::var("EXPECTED").unwrap());
    }

    #[test]
    fn without_systemd_nothing_is_handed_over() {
        assert!(handed_over().unwrap().is_empty());
    }

    #[test]
    fn sec_07_a_child_forbids_core_dumps() {
        let output = child("child_forbids").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    fn child_forbids() {
        if !is_child() {
            return;
        }
        forbid_core_dumps().unwrap();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let row = limits.lines().find(|row| row.starts_with("Max core file size")).unwrap();
        assert_eq!(row.split_ascii_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    }

    #[test]
    fn only_sockets_that_can_be_served_are_taken() {
        let connected = std::os::unix::net::UnixStream::pair().unwrap().0;
        assert!(kind(connected.into()).is_none());
        assert!(kind(std::fs::File::open("/dev/null").unwrap().into()).is_none());
        let folder = tempfile::tempdir().unwrap();
        let unix = UnixListener::bind(folder.path().join("admin.sock")).unwrap();
        assert!(matches!(kind(unix.into()), Some(HandedSocket::Unix(_))));
    }
}
