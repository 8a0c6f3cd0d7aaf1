//! Follows the directory (RFC 4533 refreshAndPersist): everything once, then every change as it happens.
//!
//! There are two sessions, one for users and one for what they lead to, each on a connection of its own: slapd lets a
//! connection have no more operations at once than half its threads, and a session never ends. Between them goes a
//! question twice a second whose answer proves that nothing is stuck between the server and us.

use super::connection::{Connection, Trouble};
use super::event::{Ended, Event, Operation};
use super::link::{Link, jittered, worth_asking};
use super::message::{
    self, Message, Outcome, Response, SYNC_DONE, SYNC_INFO, SYNC_REFRESH_REQUIRED, SYNC_STATE, Scope, Search,
    WHO_AM_I,
};
use super::schema::{self, Unknown};
use super::shared::Shared;
use super::sync::{self, Change, Info, Refresh, State};
use super::table::{Changes, Content, Shrunk, Table};
use crate::clock::{Mono, now};
use std::sync::Arc;
use std::time::Duration;

/// How often the server is asked whether it is still there; so old may a confirmed table be.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How often the schema is looked at while the directory is followed: somebody may have given it more.
const SCHEMA_EVERY: Duration = Duration::from_secs(60);
/// How long entries are left to gather before they are taken from the connection, while everything is read: slapd sends each
/// by itself, and waking up for each costs more than reading it.
const GATHER: Duration = Duration::from_millis(1);
/// The shortest and the longest pause after a session has ended.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(800));

/// How a session ended.
enum End {
    /// With trouble on the connection or at the server.
    Broken(Trouble),
    /// The server cannot go on from our cookie: everything is read anew.
    Restart,
    /// Too much would disappear.
    Shrunk(Shrunk),
}

/// Where we are in the server's history. A cookie is only kept with the content that it describes.
#[derive(Default)]
struct Bookmark {
    server: Option<Arc<str>>,
    /// What the content was read without.
    unknown: Unknown,
    cookies: [Option<Vec<u8>>; 2],
}

/// One of the two contents during a session.
struct Part {
    content: Content,
    id: u32,
    /// What has been said so far; `None` once the refresh stage of both contents is over.
    stage: Option<Changes>,
    /// Whether everything is being read, so that what does not come is gone.
    full: bool,
    refreshed: bool,
    cookie: Option<Vec<u8>>,
}

/// Follows for ever.
pub async fn follow(shared: Arc<Shared>) {
    let mut table = shared.table();
    let mut bookmark = Bookmark::default();
    let mut pause = PAUSE.0;
    loop {
        let Some(link) = worth_asking(&shared.links).first().map(|&link| Arc::clone(link)) else {
            tokio::time::sleep(jittered(PAUSE.0)).await;
            continue;
        };
        if bookmark.server.as_ref() != Some(&link.url) {
            bookmark = Bookmark { server: Some(Arc::clone(&link.url)), ..Bookmark::default() };
        }
        let begun = now().mono;
        let mut session =
            Session { shared: &shared, link: &link, table: &mut table, begun, live: false, read: 0 };
        let Err(end) = session.run(&mut bookmark).await;
        if session.live {
            pause = PAUSE.0;
        }
        let server = Arc::clone(&link.url);
        match end {
            End::Broken(trouble) => {
                link.doubt();
                (shared.events)(Event::SyncBroken { server, trouble });
                tokio::time::sleep(jittered(pause)).await;
                pause = pause.saturating_mul(2).min(PAUSE.1);
            }
            End::Restart => {
                bookmark.cookies = [None, None];
                (shared.events)(Event::SyncRestarted { server });
                tokio::time::sleep(jittered(PAUSE.0)).await;
            }
            End::Shrunk(Shrunk { before, after }) => {
                (shared.events)(Event::HeldBack { before, after });
                shared.wait_for_permission().await;
            }
        }
    }
}

/// A connection with one of the two sessions on it.
struct Line {
    connection: Connection,
    pulse: Pulse,
}

/// Whether the server is still there.
struct Pulse {
    /// The question that waits for its answer, and when it was asked.
    question: Option<(u32, Mono)>,
    /// When the last question was asked that has been answered.
    proven: Option<Mono>,
    heard: Mono,
}

struct Session<'a> {
    shared: &'a Shared,
    link: &'a Link,
    table: &'a mut Table,
    begun: Mono,
    /// Whether both contents have been refreshed.
    live: bool,
    /// Entries that have come.
    read: u64,
}

impl Session<'_> {
    async fn run(&mut self, bookmark: &mut Bookmark) -> Result<std::convert::Infallible, End> {
        // A server that does not answer this knows what it knew.
        if let Ok(unknown) = self.unknown(self.link.connect().await?).await
            && unknown != bookmark.unknown
        {
            bookmark.unknown = unknown;
            bookmark.cookies = [None, None];
        }
        let (mut users, mut others) = (self.line().await?, self.line().await?);
        let mut parts = [
            self.ask(&mut users.connection, Content::Users, bookmark).await?,
            self.ask(&mut others.connection, Content::Others, bookmark).await?,
        ];
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looked = now().mono;
        loop {
            if !self.live && users.connection.is_drained() && others.connection.is_drained() {
                tokio::time::sleep(GATHER).await;
            }
            let (content, message, pulse) = tokio::select! {
                message = users.connection.receive() => (Content::Users, message?, &mut users.pulse),
                message = others.connection.receive() => (Content::Others, message?, &mut others.pulse),
                _ = ticks.tick() => {
                    if self.live {
                        self.table.look_at_keys().await;
                        if now().mono.since(looked) > SCHEMA_EVERY {
                            looked = now().mono;
                            self.look_at_schema(&bookmark.unknown).await?;
                        }
                    }
                    for line in [&mut users, &mut others] {
                        line.ask(self.shared.settings.timeout).await?;
                    }
                    continue;
                }
            };
            match pulse.question {
                Some((id, asked)) if id == message.id => {
                    (pulse.question, pulse.proven) = (None, Some(asked));
                    if let (true, Some(a), Some(b)) = (self.live, users.pulse.proven, others.pulse.proven) {
                        self.shared.bindings.confirm(a.min(b));
                    }
                }
                _ => self.heard(content, message, &mut parts, bookmark).await?,
            }
            // After the work: what waits in the socket meanwhile is no silence of the server.
            let line = if content == Content::Users { &mut users } else { &mut others };
            line.pulse.heard = now().mono;
        }
    }

    /// Whether the server still knows what it knew: else entries have come without what they have now.
    async fn look_at_schema(&self, unknown: &Unknown) -> Result<(), End> {
        // The session goes on without it: what is wrong with the server is found out otherwise.
        let Ok(connection) = self.link.connect().await else { return Ok(()) };
        match self.unknown(connection).await {
            Ok(now) if now != *unknown => Err(End::Restart),
            _ => Ok(()),
        }
    }

    async fn unknown(&self, connection: Connection) -> Result<Unknown, Trouble> {
        schema::unknown(connection, &self.shared.reading, self.shared.settings.timeout).await
    }

    async fn line(&self) -> Result<Line, Trouble> {
        let connection = self.link.connect().await?;
        Ok(Line { connection, pulse: Pulse { question: None, proven: None, heard: now().mono } })
    }

    /// Begins one of the two sessions.
    async fn ask(
        &self,
        connection: &mut Connection,
        content: Content,
        bookmark: &Bookmark,
    ) -> Result<Part, Trouble> {
        let shared = self.shared;
        let [user_cookie, other_cookie] = &bookmark.cookies;
        let (filter, cookie) = match content {
            Content::Users => (&shared.reading.users, user_cookie.as_deref()),
            Content::Others => (&shared.reading.others, other_cookie.as_deref()),
        };
        let id = connection.begin();
        let search = Search {
            base: &shared.settings.base,
            scope: Scope::Subtree,
            filter: filter.octets(),
            attributes: &bookmark.unknown.without(&shared.reading.followed),
            size_limit: 0,
            time_limit: 0,
            controls: &[sync::request(cookie)],
        };
        let asking = connection.send(message::search(id, &search));
        super::connection::within(shared.settings.timeout, asking).await?;
        let (stage, full) = (Some(Changes::default()), cookie.is_none());
        Ok(Part { content, id, stage, full, refreshed: false, cookie: None })
    }

    /// Takes in one message of one of the two sessions.
    async fn heard(
        &mut self,
        content: Content,
        message: Message<'_>,
        parts: &mut [Part; 2],
        bookmark: &mut Bookmark,
    ) -> Result<(), End> {
        let part = parts.iter_mut().find(|part| (part.content, part.id) == (content, message.id));
        let part = part.ok_or(super::ber::Malformed)?;
        match message.response {
            Response::Entry(entry) => {
                let state = message.control(SYNC_STATE)?.ok_or(super::ber::Malformed)?;
                let State { change, id, cookie } = State::parse(state)?;
                self.read += 1;
                self.shared.bindings.reading(self.read);
                part.remember(cookie);
                let (change, row) = match change {
                    Change::Put => match self.shared.pack(entry) {
                        Some(row) => (change, Some(row)),
                        None => (Change::Deleted, None),
                    },
                    Change::Present | Change::Deleted => (change, None),
                };
                match (&mut part.stage, change) {
                    (Some(stage), _) => stage.note(id, change, row),
                    (None, Change::Present) => {}
                    (None, _) => self.table.change(part.content, id, row).await,
                }
            }
            Response::Intermediate(oid, value) if oid == SYNC_INFO.as_bytes() => {
                self.news(part, Info::parse(value)?).await;
            }
            Response::Intermediate(..) => {}
            Response::Reference => return Err(Trouble::Referral.into()),
            Response::SearchDone(Outcome { code, text }) => {
                let cookie = message.control(SYNC_DONE)?.map(sync::done_cookie).transpose()?.flatten();
                part.remember(cookie);
                let resumed = bookmark.cookies.iter().any(Option::is_some);
                // A server that does not like our cookie says so in many ways; one that is only busy does not.
                let busy = matches!(code, message::SUCCESS | 51 | 52 | 80);
                if code == SYNC_REFRESH_REQUIRED || (resumed && !busy) {
                    return Err(End::Restart);
                }
                return Err(Trouble::Search(code, String::from_utf8_lossy(text).into_owned()).into());
            }
            Response::Bind(_) | Response::Extended(_) | Response::Acted(..) => {
                return Err(super::ber::Malformed.into());
            }
        }
        if !self.live && parts.iter().all(|part| part.refreshed) {
            self.refreshed(parts).await?;
        }
        if self.live {
            for (part, cookie) in parts.iter_mut().zip(&mut bookmark.cookies) {
                if part.cookie.is_some() {
                    *cookie = part.cookie.take();
                }
            }
        }
        Ok(())
    }

    async fn news(&mut self, part: &mut Part, info: Info<'_>) {
        match info {
            Info::Cookie(cookie) => part.remember(Some(cookie)),
            Info::RefreshDelete(cookie, refresh) => {
                part.remember(cookie);
                if refresh == Refresh::Done {
                    part.finish(self.table);
                }
            }
            Info::RefreshPresent(cookie, refresh) => {
                part.remember(cookie);
                part.full = true;
                if refresh == Refresh::Done {
                    part.finish(self.table);
                }
            }
            Info::Ids(cookie, change, ids) => {
                part.remember(cookie);
                for id in ids {
                    match (&mut part.stage, change) {
                        (Some(stage), _) => stage.note(id, change, None),
                        (None, Change::Deleted) => self.table.change(part.content, id, None).await,
                        (None, _) => {}
                    }
                }
            }
        }
    }

    /// Both contents are whole: puts them into effect together.
    async fn refreshed(&mut self, parts: &mut [Part; 2]) -> Result<(), End> {
        let check = parts.iter().try_for_each(|part| match &part.stage {
            Some(stage) => self.table.check(part.content, stage),
            None => Ok(()),
        });
        if let Err(shrunk) = check
            && !self.shared.take_permission()
        {
            return Err(End::Shrunk(shrunk));
        }
        let stages = parts.each_mut().map(|part| (part.content, part.stage.take().unwrap_or_default()));
        self.table.apply(stages).await;
        self.live = true;
        self.table.loaded(self.begun);
        let took = now().mono.since(self.begun);
        let server = Arc::clone(&self.link.url);
        (self.shared.events)(Event::Operation {
            server,
            operation: Operation::Load,
            took,
            ended: Ended::Answered,
        });
        Ok(())
    }
}

impl Line {
    /// Asks whether the server is there, unless that is still unanswered: then it has to be heard of otherwise, because
    /// during a long refresh the answer waits behind the entries.
    async fn ask(&mut self, timeout: Duration) -> Result<(), Trouble> {
        match self.pulse.question {
            Some(_) if now().mono.since(self.pulse.heard) > timeout => Err(Trouble::TimedOut(timeout)),
            Some(_) => Ok(()),
            None => {
                let id = self.connection.begin();
                self.pulse.question = Some((id, now().mono));
                let asking = self.connection.send(message::extended(id, WHO_AM_I));
                super::connection::within(timeout, asking).await
            }
        }
    }
}

impl Part {
    fn remember(&mut self, cookie: Option<&[u8]>) {
        if let Some(cookie) = cookie {
            self.cookie = Some(cookie.to_vec());
        }
    }

    /// The end of the refresh stage.
    fn finish(&mut self, table: &Table) {
        self.refreshed = true;
        if let (true, Some(stage)) = (self.full, &mut self.stage) {
            stage.settle(table.ids(self.content));
        }
    }
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> End {
        End::Broken(trouble)
    }
}

impl From<super::ber::Malformed> for End {
    fn from(malformed: super::ber::Malformed) -> End {
        End::Broken(malformed.into())
    }
}
