//! The queue and the one task that works through it.

use super::{ATTEMPT, Address, Letter, NoAddress, QUEUE_MAX, Settings, Tls};
use crate::clock;
use crate::metrics::{MailResult, Metrics};
use lettre::address::Envelope;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::{self, client};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Takes letters and sees to it that they are sent.
pub struct Post {
    queue: mpsc::Sender<Waiting>,
    from: Mailbox,
    metrics: Arc<Metrics>,
}

/// A letter on its way.
struct Waiting {
    envelope: Envelope,
    octets: Vec<u8>,
    /// What it is about, for the log: a serial number, never an address.
    about: Box<str>,
    /// When it came, in nanoseconds of the monotonic clock.
    since: clock::Mono,
}

/// Why a letter is not on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotQueued {
    /// Too many are waiting.
    #[error(
        "256 letters are waiting already; look at sekisho_mail_total and the mail server, then repeat it"
    )]
    Full,
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
    /// The letter cannot be written.
    #[error(transparent)]
    Address(#[from] NoAddress),
}

impl Post {
    /// Starts the task on the current runtime.
    ///
    /// # Errors
    /// The authorities cannot be used.
    pub fn start(settings: Settings, metrics: Arc<Metrics>) -> Result<Arc<Post>, smtp::Error> {
        let transport = transport(&settings)?;
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let pace = Pace { deadline: settings.deadline, first_pause: settings.first_pause };
        tokio::spawn(work(transport, waiting, pace, Arc::clone(&metrics)));
        Ok(Arc::new(Post { queue, from: settings.from.0, metrics }))
    }

    /// Puts a letter into the queue; `about` names it in the log.
    ///
    /// # Errors
    /// See [`NotQueued`].
    pub fn send(&self, to: &Address, letter: &Letter, about: &str) -> Result<(), NotQueued> {
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.0.clone()))
            .subject(letter.subject.clone())
            .header(ContentType::TEXT_PLAIN)
            .message_id(None)
            .body(letter.text.clone())
            .map_err(|_| NoAddress)?;
        let waiting = Waiting {
            envelope: message.envelope().clone(),
            octets: message.formatted(),
            about: about.into(),
            since: clock::now().mono,
        };
        let queued = self.queue.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotQueued::Full,
            mpsc::error::TrySendError::Closed(_) => NotQueued::Stopping,
        });
        match queued {
            Ok(()) => self.metrics.mail_waiting.inc(),
            Err(_) => self.metrics.mail.at(MailResult::Refused).inc(),
        }
        queued
    }
}

/// How long a letter is tried for, and how often.
#[derive(Clone, Copy)]
struct Pace {
    deadline: Duration,
    first_pause: Duration,
}

/// Sends one letter after the other. Ends when the [`Post`] is gone.
async fn work(
    transport: AsyncSmtpTransport<Tokio1Executor>,
    mut waiting: mpsc::Receiver<Waiting>,
    pace: Pace,
    metrics: Arc<Metrics>,
) {
    while let Some(letter) = waiting.recv().await {
        let about = &letter.about;
        match deliver(&transport, &letter, pace, &metrics).await {
            Ok(()) => {
                metrics.mail.at(MailResult::Sent).inc();
                tracing::info!(event = "mail-sent", token = %about);
            }
            Err(why) => {
                metrics.mail.at(MailResult::Failed).inc();
                tracing::error!(event = "mail-failed", token = %about, why, "the letter is given up");
            }
        }
        metrics.mail_waiting.dec();
    }
}

/// Tries until the letter is taken, refused for good, or too old.
async fn deliver(
    transport: &AsyncSmtpTransport<Tokio1Executor>,
    letter: &Waiting,
    pace: Pace,
    metrics: &Metrics,
) -> Result<(), String> {
    let mut pause = pace.first_pause;
    loop {
        let sent = timeout(ATTEMPT, transport.send_raw(&letter.envelope, &letter.octets)).await;
        let why = match sent {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if error.is_permanent() => return Err(shown(&error)),
            Ok(Err(error)) => shown(&error),
            Err(_) => format!("no answer within {} s", ATTEMPT.as_secs()),
        };
        if clock::now().mono.since(letter.since).saturating_add(pause) > pace.deadline {
            return Err(why);
        }
        metrics.mail.at(MailResult::Retried).inc();
        tracing::warn!(event = "mail-retried", token = %letter.about, why, again_in = ?pause);
        sleep(pause).await;
        pause = pause.saturating_mul(2);
    }
}

/// An error with what is behind it, on one line: a server's answer may have several.
fn shown(error: &smtp::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text.replace(char::is_control, " ")
}

fn transport(settings: &Settings) -> Result<AsyncSmtpTransport<Tokio1Executor>, smtp::Error> {
    let host = &settings.server.host;
    let parameters = || {
        let mut builder = TlsParameters::builder(host.clone()).certificate_store(CertificateStore::None);
        for authority in &settings.authorities {
            builder = builder.add_root_certificate(Certificate::from_der(authority.to_vec())?);
        }
        builder.build()
    };
    let tls = match settings.tls {
        Tls::Implicit => client::Tls::Wrapper(parameters()?),
        Tls::StartTls => client::Tls::Required(parameters()?),
        Tls::None => client::Tls::None,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host.clone())
        .port(settings.server.port)
        .tls(tls)
        .timeout(Some(ATTEMPT));
    if let Some((name, password)) = &settings.login {
        // The library keeps the password as text, for as long as the daemon runs.
        let password = String::from_utf8_lossy(password.expose()).into_owned();
        builder = builder.credentials(Credentials::new(name.clone(), password));
    }
    Ok(builder.build())
}
