//! One connection with one operation in flight at a time: whatever a server sends, an operation ends with an answer
//! or with trouble, within its time and within bounded memory.
//!
//! Why not `ldap3`'s own connection: its decoder recurses as deep as a message is nested and overflows the stack,
//! which ends the process; it reads messages of any size, queues without bound, and leaves passwords in freed memory.

use super::act::Act;
use super::ber::{self, Malformed, Writer};
use super::message::{
    self, Control, Message, Outcome, PAGED_RESULTS, PASSWORD_POLICY, RawEntry, Response, Search,
};
use super::settings::{Server, Settings, Tls, Trust};
use super::stream::Stream;
use std::io;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest message that is read. The longest that servers send are entries with photographs.
pub const MESSAGE_MAX: usize = 4 * 1024 * 1024;
/// The first size of the buffer.
const USUAL: usize = 4 * 1024;

/// Why an operation has no answer. The connection is of no further use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// No answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The server refuses StartTLS with this result code.
    #[error("the server refuses StartTLS (result {0}); nothing was sent in clear")]
    StartTlsRefused(u32),
    /// Octets stood between the answer to StartTLS and the handshake.
    #[error("somebody put octets in before the TLS handshake; the connection was closed")]
    Injected,
    /// What came is not LDAP, or not an answer to what was asked.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The message is longer than any answer.
    #[error("the server announces a message of {0} octets; at most {MESSAGE_MAX} are read")]
    TooLong(usize),
    /// The server ends the connection.
    #[error("the server ends the connection (notice of disconnection, result {0})")]
    Disconnected(u32),
    /// The service identity cannot bind.
    #[error("the service identity cannot bind (result {0}); check bind-dn and bind-password")]
    ServiceBind(u32),
    /// A user's bind ended with a result that says nothing about the password.
    #[error("the bind ended with result {0}, which says nothing about the password: {1}")]
    Bind(u32, String),
    /// A search failed.
    #[error("the search failed with result {0}: {1}")]
    Search(u32, String),
    /// Part of what was searched lies on another server.
    #[error("the server refers to another server; referrals are not followed, so the answer is incomplete")]
    Referral,
    /// More entries than asked for.
    #[error("the server sends more entries than were asked for")]
    TooMany,
}

/// The answer to a bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindAnswer {
    /// resultCode.
    pub code: u32,
    /// diagnosticMessage, for sub-codes only; it is not shown to users.
    pub text: String,
    /// The value of the password policy control, if it came.
    pub policy: Option<Vec<u8>>,
}

/// The end of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchEnd {
    /// resultCode.
    pub code: u32,
    /// diagnosticMessage.
    pub text: String,
    /// How many references to other servers came; none was followed.
    pub references: usize,
    /// The value of the paged results control, if it came.
    pub page: Option<Vec<u8>>,
}

/// The answer to a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActAnswer {
    /// resultCode.
    pub code: u32,
    /// diagnosticMessage.
    pub text: String,
    /// The first server that it refers to, if it does; it is not followed.
    pub referral: Option<String>,
}

/// Who a connection speaks for once it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody yet: it will carry binds of users.
    Nobody,
    /// The service identity.
    Service,
}

/// One connection.
pub struct Connection {
    stream: Stream,
    incoming: Incoming,
    last_id: u32,
    state: State,
    /// Whether the last octets were all that had arrived.
    drained: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Busy,
}

impl Connection {
    /// Connects, protects the connection and binds the service identity, all within `time`.
    pub async fn open(
        settings: &Settings,
        server: &Server,
        identity: Identity,
        time: Duration,
    ) -> Result<Connection, Trouble> {
        let opening = async {
            let mut connection = Connection::protected(server, &settings.trust).await?;
            if identity == Identity::Service && !settings.bind_dn.is_empty() {
                let password = settings.bind_password.expose();
                if password.is_empty() {
                    return Err(Trouble::ServiceBind(message::UNWILLING_TO_PERFORM));
                }
                let answer = connection.bind(&settings.bind_dn, password, &[]).await?;
                if answer.code != message::SUCCESS {
                    return Err(Trouble::ServiceBind(answer.code));
                }
            }
            Ok(connection)
        };
        within(time, opening).await
    }

    async fn protected(server: &Server, trust: &Trust) -> Result<Connection, Trouble> {
        let connect = |error: io::Error| Trouble::Connect(error.to_string());
        let stream = Stream::connect(server).await.map_err(connect)?;
        let mut connection =
            Connection { stream, incoming: Incoming::new(), last_id: 0, state: State::Idle, drained: true };
        match server.tls {
            Tls::None => return Ok(connection),
            Tls::Ldaps => {}
            Tls::StartTls => connection.start_tls().await?,
        }
        connection.stream.protect(server, trust).await.map_err(connect)?;
        Ok(connection)
    }

    /// Asks for TLS; after anything but a clean yes the connection is closed (RFC 4511 §4.14.1, RFC 4513 §3.1.1).
    async fn start_tls(&mut self) -> Result<(), Trouble> {
        let code = self.extended(message::START_TLS).await?;
        if code != message::SUCCESS {
            return Err(Trouble::StartTlsRefused(code));
        }
        let unread = self.stream.has_unread().map_err(broken)?;
        if unread || !self.incoming.is_empty() { Err(Trouble::Injected) } else { Ok(()) }
    }

    /// Whether it can carry another operation, as far as one can tell without asking.
    pub fn is_usable(&mut self) -> bool {
        self.state == State::Idle && self.incoming.is_empty() && !self.stream.is_disturbed()
    }

    /// One simple bind. The caller has made sure that the password is not empty.
    pub async fn bind(
        &mut self,
        dn: &str,
        password: &[u8],
        controls: &[Control],
    ) -> Result<BindAnswer, Trouble> {
        let id = self.begin();
        self.send(message::bind(id, dn, password, controls)).await?;
        let answer = self.receive().await?;
        let (true, Response::Bind(Outcome { code, text })) = (answer.id == id, answer.response) else {
            return Err(Malformed.into());
        };
        let policy = answer.control(PASSWORD_POLICY)?.map(<[u8]>::to_vec);
        let answer = BindAnswer { code, text: String::from_utf8_lossy(text).into_owned(), policy };
        self.state = State::Idle;
        Ok(answer)
    }

    /// One search; `each` gets the entries, one after the other, and may end it with trouble.
    pub async fn search(
        &mut self,
        search: &Search<'_>,
        mut each: impl FnMut(RawEntry<'_>) -> Result<(), Trouble>,
    ) -> Result<SearchEnd, Trouble> {
        let id = self.begin();
        self.send(message::search(id, search)).await?;
        let mut references = 0;
        loop {
            let answer = self.receive().await?;
            if answer.id != id {
                return Err(Malformed.into());
            }
            match answer.response {
                Response::Entry(entry) => each(entry)?,
                Response::Reference => references += 1,
                Response::Intermediate(..) => {}
                Response::SearchDone(Outcome { code, text }) => {
                    let page = answer.control(PAGED_RESULTS)?.map(<[u8]>::to_vec);
                    let end = SearchEnd {
                        code,
                        text: String::from_utf8_lossy(text).into_owned(),
                        references,
                        page,
                    };
                    self.state = State::Idle;
                    return Ok(end);
                }
                Response::Bind(_) | Response::Extended(_) | Response::Acted(..) => {
                    return Err(Malformed.into());
                }
            }
        }
    }

    /// One change. Whoever gets trouble from this cannot know whether it was made.
    pub async fn act(&mut self, act: &Act<'_>) -> Result<ActAnswer, Trouble> {
        let id = self.begin();
        self.send(act.message(id)).await?;
        let answer = self.receive().await?;
        let (true, Response::Acted(Outcome { code, text }, referral)) = (answer.id == id, answer.response)
        else {
            return Err(Malformed.into());
        };
        let words = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let answer = ActAnswer { code, text: words(text), referral: referral.map(words) };
        self.state = State::Idle;
        Ok(answer)
    }

    /// One extended operation; gives its result code.
    pub async fn extended(&mut self, oid: &str) -> Result<u32, Trouble> {
        let id = self.begin();
        self.send(message::extended(id, oid)).await?;
        let answer = self.receive().await?;
        match answer.response {
            Response::Extended(Outcome { code, .. }) if answer.id == id => {
                self.state = State::Idle;
                Ok(code)
            }
            _ => Err(Malformed.into()),
        }
    }

    /// Says good-bye, if the connection is in a state to.
    pub async fn close(mut self) {
        if self.state == State::Idle {
            let id = self.begin();
            let _ = self.send(message::unbind(id)).await;
        }
    }

    /// The number of the next operation. Until it has ended, the connection counts as lost to others.
    pub fn begin(&mut self) -> u32 {
        self.state = State::Busy;
        self.last_id = if self.last_id >= 0x7fff_ffff { 1 } else { self.last_id + 1 };
        self.last_id
    }

    /// Sends one message.
    pub async fn send(&mut self, message: Writer) -> Result<(), Trouble> {
        self.stream.write(message.octets()).await.map_err(broken)
    }

    /// Whether all messages have been received that had arrived when octets were last taken from the connection.
    pub fn is_drained(&self) -> bool {
        self.drained && matches!(self.incoming.has_message(), Ok(false))
    }

    /// The next message; a notice of disconnection is trouble. Giving up while waiting loses nothing.
    pub async fn receive(&mut self) -> Result<Message<'_>, Trouble> {
        while !self.incoming.has_message()? {
            let room = self.incoming.room();
            let size = room.len();
            let read = self.stream.read(room).await.map_err(broken)?;
            self.drained = read < size;
            self.incoming.filled(read);
        }
        let message = Message::parse(self.incoming.take())?;
        match message.response {
            Response::Extended(Outcome { code, .. }) if message.id == 0 => Err(Trouble::Disconnected(code)),
            _ if message.id == 0 => Err(Malformed.into()),
            _ => Ok(message),
        }
    }
}

/// Ends with [`Trouble::TimedOut`] when `work` takes longer than `time`.
pub async fn within<T>(time: Duration, work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    tokio::time::timeout(time, work).await.unwrap_or(Err(Trouble::TimedOut(time)))
}

fn broken(error: io::Error) -> Trouble {
    Trouble::Broken(error.to_string())
}

/// What has arrived and was not read yet. Grows with what arrives, not with what is announced; wipes itself, because
/// entries carry keys.
struct Incoming {
    octets: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Incoming {
    fn new() -> Incoming {
        Incoming { octets: Zeroizing::new(vec![0; USUAL]), start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn arrived(&self) -> &[u8] {
        self.octets.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether a whole message has arrived.
    fn has_message(&self) -> Result<bool, Trouble> {
        let arrived = self.arrived();
        if arrived.first().is_some_and(|&tag| tag != ber::SEQUENCE) {
            return Err(Malformed.into());
        }
        match ber::header(arrived)? {
            Some((_, length)) if length > MESSAGE_MAX => Err(Trouble::TooLong(length)),
            Some((header, length)) => Ok(header + length <= arrived.len()),
            None => Ok(false),
        }
    }

    /// The first whole message; it is gone from here with the next call.
    fn take(&mut self) -> &[u8] {
        let length = match ber::header(self.arrived()) {
            Ok(Some((header, length))) => (header + length).min(self.end - self.start),
            _ => 0,
        };
        let start = self.start;
        self.start += length;
        self.octets.get(start..self.start).unwrap_or_default()
    }

    /// Room for more, at least one octet.
    fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.octets.len() {
            let kept = self.end - self.start;
            if self.start > self.octets.len() / 2 {
                self.octets.copy_within(self.start..self.end, 0);
            } else {
                let mut larger = Zeroizing::new(vec![0; self.octets.len().saturating_mul(2)]);
                if let Some(room) = larger.get_mut(..kept) {
                    room.copy_from_slice(self.arrived());
                }
                self.octets = larger;
            }
            (self.start, self.end) = (0, kept);
        }
        self.octets.get_mut(self.end..).unwrap_or_default()
    }

    fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.octets.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(incoming: &mut Incoming, mut octets: &[u8]) {
        while !octets.is_empty() {
            let room = incoming.room();
            let count = room.len().min(octets.len());
            room[..count].copy_from_slice(&octets[..count]);
            incoming.filled(count);
            octets = &octets[count..];
        }
    }

    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut() {
        for cut in [1, 3, 1000, 5000, 40_000] {
            let mut incoming = Incoming::new();
            let mut stream = Vec::new();
            for size in [0usize, 5, 200, 20_000, 3, 70_000] {
                let mut writer = Writer::new();
                stream.extend_from_slice(writer.put(ber::SEQUENCE, &vec![size as u8; size]).octets());
            }
            let mut sizes = Vec::new();
            for piece in stream.chunks(cut) {
                feed(&mut incoming, piece);
                while incoming.has_message().unwrap() {
                    let mut message = ber::Reader::new(incoming.take());
                    let content = message.expect(ber::SEQUENCE).unwrap();
                    assert!(content.iter().all(|&octet| octet == content.len() as u8));
                    sizes.push(content.len());
                }
            }
            assert_eq!(sizes, [0, 5, 200, 20_000, 3, 70_000], "{cut}");
            assert!(incoming.is_empty());
        }
    }

    #[test]
    fn ldap_28_a_long_announcement_takes_no_memory() {
        let mut incoming = Incoming::new();
        feed(&mut incoming, &[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0, 0]);
        assert_eq!(incoming.has_message(), Err(Trouble::TooLong(0x7fff_ffff)));
        let mut incoming = Incoming::new();
        feed(&mut incoming, &[0x30, 0x84, 0, 0x30, 0, 0, 0, 0]);
        assert_eq!(incoming.has_message(), Ok(false));
        assert_eq!(incoming.octets.len(), USUAL);
    }
}
