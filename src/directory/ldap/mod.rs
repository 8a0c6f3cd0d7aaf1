//! An LDAP directory: users and tokens followed into memory or searched for, passwords checked by binds.
//!
//! Several servers are asked in order and each is watched. Whatever a server does or omits, a question ends with an
//! answer or with [`Unavailable`], in time.

mod act;
mod ber;
mod connection;
mod differing;
mod event;
mod filter;
mod find;
mod follow;
mod index;
mod link;
mod message;
mod overlay;
mod packed;
mod password;
mod poll;
mod pool;
mod reading;
mod registry;
mod rewrap;
mod roll;
mod rows;
mod schema;
mod settings;
mod shared;
mod stream;
mod sync;
mod table;
mod write;
mod writing;

#[cfg(test)]
mod tests;

pub use connection::{MESSAGE_MAX, Trouble};
pub use event::{Ended, Event, Events, Operation};
pub use filter::{Filter, FilterProblem, UserFilter};
pub use overlay::{Guarded, otp_overlay_guards};
pub use settings::{
    BINDS, CAPACITY, Cleartext, EVERY, GraceLogins, LIFETIME, MAX_STALE, Mode, SEARCHES, SHRINK_LIMIT,
    Server, ServerProblem, Settings, TIMEOUT, Tls, Trust, TrustProblem,
};
pub use writing::{Lacks, writing_lacks};

use crate::clock::{Mono, now};
use crate::directory::seal::Keyring;
use crate::directory::{Directory, Found, PasswordAnswer, ServerStatus, Unavailable};
use crate::identity::UserName;
use crate::secret::Secret;
use crate::state::Bindings;
use crate::tokens::KeptUser;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use link::{Link, worth_asking};
use password::{Meaning, meaning};
use reading::Reading;
use shared::Shared;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The pause before a task that failed by a fault of ours is started again.
const RESTART: Duration = Duration::from_secs(1);

/// An LDAP directory at work; its tasks end when it is dropped.
pub struct Ldap {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Ldap {
    /// Starts watching the servers and, unless the mode is [`Mode::Ask`], filling `bindings`. Nothing is waited for: a
    /// server that is down now may come up later.
    ///
    /// # Errors
    /// A name in a custom layout makes no filter.
    pub fn start(
        settings: Settings,
        bindings: Arc<Bindings>,
        events: Events,
        runtime: &Handle,
    ) -> Result<Arc<Ldap>, FilterProblem> {
        let reading = Arc::new(Reading::new(&settings)?);
        let settings = Arc::new(settings);
        let links: Vec<Arc<Link>> =
            settings.servers.iter().map(|server| Arc::new(Link::new(&settings, server, &events))).collect();
        let mode = settings.mode;
        let shared = Arc::new(Shared {
            settings,
            reading,
            links,
            bindings,
            events,
            permission: AtomicBool::new(false),
            writable: AtomicUsize::new(usize::MAX),
            permitted: Notify::new(),
            rolls: roll::Rolls::default(),
        });
        let mut tasks = Vec::new();
        for link in &shared.links {
            let link = Arc::clone(link);
            let watch = move || {
                let link = Arc::clone(&link);
                async move { link.watch().await }
            };
            tasks.push(runtime.spawn(supervised(Arc::clone(&shared), watch)));
        }
        let context = Arc::clone(&shared);
        match mode {
            Mode::Ask => {}
            Mode::Poll { every } => {
                let work = move || poll::poll(Arc::clone(&context), every);
                tasks.push(runtime.spawn(supervised(Arc::clone(&shared), work)));
            }
            Mode::Follow => {
                let work = move || follow::follow(Arc::clone(&context));
                tasks.push(runtime.spawn(supervised(Arc::clone(&shared), work)));
            }
        }
        Ok(Arc::new(Ldap { shared, tasks }))
    }

    /// Whether the servers ask for codes themselves, so that ours would be used up twice (LDAP-23).
    ///
    /// # Errors
    /// No server could be asked.
    pub async fn otp_overlay_guards(&self) -> Result<Guarded, Trouble> {
        otp_overlay_guards(&self.shared.settings).await
    }

    /// An operator says that the disappearance which [`Event::HeldBack`] told of is right; it serves once.
    pub fn permit_shrinking(&self) {
        self.shared.permission.store(true, Ordering::Relaxed);
        self.shared.permitted.notify_one();
    }

    /// The keys that seal and open; they can be replaced while it runs.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.shared.settings.keyring
    }

    async fn search(&self, name: &UserName, deadline: Mono) -> Result<Found, Unavailable> {
        // What is not UTF-8 is nobody's name (RFC 4511 §4.1.2), and NUL ends names in some servers.
        let Some(text) = name.text().filter(|text| !text.contains('\0')) else { return Ok(Found::Nobody) };
        Ok(match find::find(&self.shared, text, deadline).await? {
            find::Answer::One(user, names) if self.shared.settings.mode == Mode::Ask => {
                Found::One(self.shared.bindings.put(&user, &names, now().mono))
            }
            find::Answer::One(user, _) => Found::One(KeptUser::new(&user)),
            find::Answer::Nobody => Found::Nobody,
            find::Answer::Several => Found::Several,
        })
    }

    async fn bind(
        &self,
        user: &KeptUser,
        password: Secret,
        deadline: Mono,
    ) -> Result<PasswordAnswer, Unavailable> {
        // An empty password asks for an anonymous bind, which succeeds (RFC 4513 §5.1.2), and so does an empty DN. A
        // server that ends strings at NUL sees an empty password where one begins with it.
        let dn = user.dn();
        if dn.is_empty() || matches!(password.expose(), [] | [0, ..]) {
            return Ok(PasswordAnswer::Wrong);
        }
        let mut last = Unavailable::Unreachable;
        for link in worth_asking(&self.shared.links) {
            match link.bind(&dn, &password, deadline).await {
                Ok(answer) => match meaning(&answer, self.shared.settings.grace_logins) {
                    Meaning::Answer(answer) => return Ok(answer),
                    Meaning::NoAnswer => {
                        let trouble = Trouble::Bind(answer.code, answer.text);
                        last = link.gave_up(Operation::Bind, trouble.into(), deadline);
                    }
                },
                Err(why) => last = link.gave_up(Operation::Bind, why, deadline),
            }
        }
        Err(last)
    }
}

impl Directory for Ldap {
    fn find<'a>(&'a self, name: &'a UserName, deadline: Mono) -> BoxFuture<'a, Result<Found, Unavailable>> {
        self.search(name, deadline).boxed()
    }

    fn check_password<'a>(
        &'a self,
        user: &'a KeptUser,
        password: Secret,
        deadline: Mono,
    ) -> BoxFuture<'a, Result<PasswordAnswer, Unavailable>> {
        self.bind(user, password, deadline).boxed()
    }

    fn servers(&self) -> Vec<ServerStatus> {
        self.shared.links.iter().map(|link| link.status()).collect()
    }
}

impl Drop for Ldap {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Runs a task that is not meant to end; one that panics is reported and started again.
async fn supervised<F: Future<Output = ()>>(shared: Arc<Shared>, work: impl Fn() -> F) {
    while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
        (shared.events)(Event::Restarted);
        tokio::time::sleep(RESTART).await;
    }
}
