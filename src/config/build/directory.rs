//! Where users and tokens live.

use super::Report;
use super::secret::{Reach, Written};
use crate::config::file;
use crate::config::problem::Key;
use crate::config::value::Length;
use crate::directory::entry::Dn;
use crate::directory::layout::{Counts, CustomAttributes, Kind, Layout, SecretForm, TokensAt};
use crate::directory::ldap::{Cleartext, GraceLogins, Mode, Server, Settings, Tls, Trust, UserFilter};
use crate::directory::seal::Keyring;
use crate::otp::Parameters;
use crate::state::Scope;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One of the two directories.
pub enum Directory {
    /// An LDAP directory.
    Ldap(Box<Ldap>),
    /// The one that needs no server.
    Embedded(Embedded),
}

/// An LDAP directory.
pub struct Ldap {
    /// The client's settings.
    pub settings: Settings,
    /// Which users memory holds, and for how long.
    pub scope: Scope,
    /// The file with the keys that seal, if they do not come as a credential.
    pub seal_key_file: Option<PathBuf>,
    /// How long a password that was right is not asked for again; zero for never.
    pub password_cache: Duration,
}

/// The embedded directory.
pub struct Embedded {
    /// Its folder.
    pub folder: PathBuf,
}

/// Builds the directory that `kind` names; the other one's table is not looked at. `services` are what the profiles in
/// use say of tokens, for entries that leave it open.
pub fn directory(
    written: &file::Directory,
    services: &[Parameters],
    report: &mut Report<'_>,
) -> Option<Directory> {
    let at = Key::of(&["directory"]);
    match written.kind? {
        file::DirectoryKind::Ldap => {
            let ldap =
                Table { at: at.name("ldap"), written: written.ldap.as_ref()?, report }.build(services)?;
            Some(Directory::Ldap(Box::new(ldap)))
        }
        file::DirectoryKind::Embedded => {
            let (at, written) = (at.name("embedded"), written.embedded.as_ref()?);
            let folder = report.path(&at.name("folder"), written.folder.as_ref()?);
            Some(Directory::Embedded(Embedded { folder }))
        }
    }
}

/// `[directory.ldap]`.
struct Table<'t, 'l> {
    at: Key,
    written: &'t file::Ldap,
    report: &'t mut Report<'l>,
}

impl Table<'_, '_> {
    fn build(mut self, services: &[Parameters]) -> Option<Ldap> {
        let written = self.written;
        let servers = self.servers();
        let trust = self.trust();
        let identity = self.identity();
        let base = self.dn("base", written.base.as_ref());
        if written.base.is_none() {
            let right = r#"write the DN below which users and tokens are, such as "dc=example,dc=jp""#;
            self.report.missing(&self.at.name("base"), "it is missing", right);
        }
        let below = |unit: &str| base.as_ref().map(|base| format!("ou={unit},{base}"));
        let token_base = self.dn("token-base", written.token_base.as_ref()).or_else(|| below("tokens"));
        let contract_base =
            self.dn("contract-base", written.contract_base.as_ref()).or_else(|| below("contracts"));
        for (name, inner) in [("token-base", &token_base), ("contract-base", &contract_base)] {
            let inside = |inner: &String, base: &String| {
                Dn::parse(inner).zip(Dn::parse(base)).is_none_or(|(inner, base)| inner.is_within(&base))
            };
            if let (Some(inner), Some(base)) = (inner, &base)
                && !inside(inner, base)
            {
                let why = format!("it does not lie below base = {base:?}, where everything is read");
                self.report.refuse(&self.at.name(name), why, "choose one below base");
            }
        }
        let filter = written.user_filter.as_deref().map(UserFilter::parse);
        let user_filter = filter.and_then(|filter| self.report.keep(&self.at.name("user-filter"), filter));
        let layout = self.layout();
        let defaults = self.defaults(services);
        let (mode, scope) = self.bindings()?;
        let password_cache = self.password_cache(mode);
        let keyring = keyring(
            &self.at,
            written.seal_key_file.as_ref(),
            written.seal_key_credential.as_ref(),
            self.report,
        );
        let seal_key_file =
            written.seal_key_file.as_ref().map(|file| self.report.path(&self.at.name("seal-key-file"), file));
        let number =
            |report: &mut Report<'_>, name, value, most| report.number(&self.at.name(name), value, 1..=most);
        let binds = number(self.report, "pool", written.pool, 256);
        let searches = number(self.report, "search-pool", written.search_pool, 64);
        let shrink_limit = number(self.report, "shrink-limit", written.shrink_limit, 100);
        let bounds = Duration::from_millis(100)..=Duration::from_secs(30);
        let timeout = self.report.length(&self.at.name("timeout"), written.timeout, bounds);
        let (bind_dn, bind_password) = identity?;
        Some(Ldap {
            settings: Settings {
                servers: servers?,
                trust: trust?,
                bind_dn,
                bind_password,
                base: base?,
                token_base: token_base?,
                contract_base: contract_base?,
                user_filter: user_filter?,
                layout: layout?,
                defaults,
                keyring: keyring?,
                mode,
                timeout,
                binds,
                searches,
                shrink_limit: u8::try_from(shrink_limit).ok()?,
                grace_logins: match written.grace_logins? {
                    file::GraceLogins::Refused => GraceLogins::Refused,
                    file::GraceLogins::Accepted => GraceLogins::Accepted,
                },
            },
            scope,
            seal_key_file,
            password_cache,
        })
    }

    fn tls(&self) -> Option<Tls> {
        self.written.tls.map(|tls| match tls {
            file::LdapTls::Ldaps => Tls::Ldaps,
            file::LdapTls::StartTls => Tls::StartTls,
            file::LdapTls::None => Tls::None,
        })
    }

    fn servers(&mut self) -> Option<Vec<Server>> {
        let key = self.at.name("servers");
        let tls = self.tls()?;
        let cleartext = match self.written.allow_cleartext {
            Some(true) => Cleartext::Allowed,
            _ => Cleartext::LoopbackOnly,
        };
        let urls = self.written.servers.as_ref().filter(|urls| !urls.0.is_empty());
        let urls = self.report.need(&key, urls, r#"write ["ldaps://ldap1.example.jp"]"#)?;
        let mut servers = Vec::new();
        for url in &urls.0 {
            match Server::parse(url, tls, cleartext) {
                Ok(server) => servers.push(server),
                Err(problem) => self.report.refuse(&key, format!("{url}: {problem}"), ""),
            }
        }
        if cleartext == Cleartext::Allowed && tls == Tls::None {
            let why = "passwords cross the network in clear";
            self.report.warn(&self.at.name("allow-cleartext"), why, "use ldaps or start-tls");
        }
        Some(servers)
    }

    fn trust(&mut self) -> Option<Trust> {
        let key = self.at.name("ca-file");
        if self.tls()? == Tls::None {
            return self.report.keep(&key, Trust::nobody());
        }
        let file = self.report.path(&key, self.written.ca_file.as_ref()?);
        let refuse = |report: &mut Report<'_>, why: String| {
            report.refuse(&key, why, "name a PEM file with the authorities of the directory's certificates");
        };
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) => {
                refuse(self.report, format!("{} cannot be read: {error}", file.display()));
                return None;
            }
        };
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let trust = certificates
            .map_err(|error| error.to_string())
            .and_then(|certificates| Trust::these(certificates).map_err(|problem| problem.to_string()));
        trust.map_err(|problem| refuse(self.report, format!("{}: {problem}", file.display()))).ok()
    }

    /// The DN that searches, and its password; without a DN searches are anonymous.
    fn identity(&mut self) -> Option<(String, crate::secret::Secret)> {
        let written = self.written;
        let password = Written {
            name: "bind-password",
            inline: written.bind_password.as_ref(),
            file: written.bind_password_file.as_ref(),
            credential: written.bind_password_credential.as_ref(),
        };
        let loopback = |url: &String| Server::parse(url, Tls::None, Cleartext::LoopbackOnly).is_ok();
        let everywhere = written.servers.as_ref().is_some_and(|urls| urls.0.iter().all(loopback));
        let reach = if everywhere { Reach::Loopback } else { Reach::Network };
        if written.bind_dn.is_none() {
            let right = "write the DN that searches and may read token secrets";
            self.report.missing(&self.at.name("bind-dn"), "it is missing", right);
            return None;
        }
        let dn = self.dn("bind-dn", written.bind_dn.as_ref());
        let secret = password.read(&self.at, reach, self.report)?;
        if secret.is_empty() {
            // RFC 4513 §5.1.2: the server might answer success, and search as anybody.
            let key = password.key(&self.at);
            self.report.refuse(&key, "the password is empty", "write the password of bind-dn into it");
            return None;
        }
        Some((dn?, secret))
    }

    fn dn(&mut self, name: &str, written: Option<&String>) -> Option<String> {
        let written = written?;
        if written.is_empty() || Dn::parse(written).is_none() {
            let right = r#"write one such as "ou=people,dc=example,dc=jp" (RFC 4514)"#;
            self.report.refuse(&self.at.name(name), "this is no DN", right);
            return None;
        }
        Some(written.clone())
    }

    fn bindings(&mut self) -> Option<(Mode, Scope)> {
        let written = self.written;
        let seconds = |from, to| Duration::from_secs(from)..=Duration::from_secs(to);
        let every = self.report.length(&self.at.name("poll-every"), written.poll_every, seconds(1, 3600));
        let max_stale =
            self.report.length(&self.at.name("max-stale"), written.max_stale, seconds(10, 86_400));
        let lifetime =
            self.report.length(&self.at.name("cache-lifetime"), written.cache_lifetime, seconds(0, 300));
        let capacity = self.report.number(&self.at.name("cache-size"), written.cache_size, 1..=10_000_000);
        let complete = Scope::Complete { max_stale };
        Some(match written.bindings? {
            file::LdapBindings::Follow => (Mode::Follow, complete),
            file::LdapBindings::Poll => {
                if every >= max_stale {
                    let (every, stale) = (Length(every), Length(max_stale));
                    let why = format!("a table that is read every {every} is always too old after {stale}");
                    self.report.refuse(&self.at.name("max-stale"), why, "make it several times poll-every");
                }
                (Mode::Poll { every }, complete)
            }
            file::LdapBindings::Ask => (Mode::Ask, Scope::Cache { lifetime, capacity }),
        })
    }

    /// Only who follows hears at once that an entry has changed.
    fn password_cache(&mut self, mode: Mode) -> Duration {
        let key = self.at.name("password-cache");
        let bounds = Duration::ZERO..=Duration::from_secs(600);
        let length = self.report.length(&key, self.written.password_cache, bounds);
        if !length.is_zero() && mode != Mode::Follow {
            let why = "a password that was changed would go on working until then";
            self.report.refuse(&key, why, "leave it at \"0s\", or set bindings = \"follow\"");
        }
        length
    }

    fn layout(&mut self) -> Option<Layout> {
        let lasts = self.written.lock_duration.map(|length| length.0);
        let layout = match self.written.layout? {
            file::LdapLayout::Oath => Layout::oath(),
            file::LdapLayout::Freeipa => Layout::freeipa(),
            file::LdapLayout::Custom => return Some(self.custom()?.with_lock_duration(lasts)),
        };
        if self.written.custom.is_some() {
            let why = "it means something with layout = \"custom\" only";
            self.report.refuse(&self.at.name("custom"), why, "take it out, or set layout");
        }
        Some(layout.with_lock_duration(lasts))
    }

    /// What holds for entries that leave it open: what all services in use agree on.
    fn defaults(&mut self, services: &[Parameters]) -> Parameters {
        let first = services.first().copied().unwrap_or_default();
        let open = self.written.layout == Some(file::LdapLayout::Custom)
            && self.written.custom.as_ref().is_some_and(|custom| {
                custom.digits.is_none() || custom.period.is_none() || custom.algorithm.is_none()
            });
        if open && services.iter().any(|other| *other != first) {
            self.report.refuse(
                &self.at.name("custom"),
                "digits, period and algorithm come from the service, but the services in use differ",
                "name the attributes digits, period and algorithm, or let all services agree",
            );
        }
        first
    }

    fn custom(&mut self) -> Option<Layout> {
        let at = self.at.name("custom");
        let custom =
            self.report.need(&at, self.written.custom.as_ref(), "write the names of the attributes")?;
        let secret =
            self.report.need(&at.name("secret"), custom.secret.clone(), "name the attribute with the key");
        let kind = match custom.r#type {
            Some(file::TokenType::Hotp) => Kind::Counter,
            _ => Kind::Time,
        };
        let tokens = match (&custom.token_reference, &custom.token_owner) {
            (Some(_), Some(_)) => {
                let why = "tokens are found either way, not both";
                self.report.refuse(&at.name("token-owner"), why, "leave token-reference or token-owner");
                return None;
            }
            (Some(reference), None) => TokensAt::Referred(vec![(reference.clone().into(), kind)]),
            (None, Some(owner)) => TokensAt::Owned(owner.clone().into()),
            (None, None) => TokensAt::User,
        };
        Some(Layout::custom(CustomAttributes {
            tokens,
            token_class: custom.token_class.clone(),
            kind,
            secret: secret?,
            secret_form: match custom.secret_encoding {
                Some(file::SecretEncoding::Base32) => SecretForm::Base32,
                Some(file::SecretEncoding::Base64) => SecretForm::Base64,
                Some(file::SecretEncoding::Hex) => SecretForm::Hex,
                Some(file::SecretEncoding::Raw) | None => SecretForm::Raw,
            },
            serial: custom.serial.clone(),
            algorithm: custom.algorithm.clone(),
            digits: custom.digits.clone(),
            period: custom.period.clone(),
            window: custom.window.clone(),
            spent: custom.spent.clone(),
            counts: match custom.spent_is {
                Some(file::SpentIs::Next) => Counts::Next,
                Some(file::SpentIs::LastUsed) | None => Counts::LastUsed,
            },
            disabled: custom.disabled.clone(),
            not_before: custom.not_before.clone(),
            not_after: custom.not_after.clone(),
            identity: custom.identity.clone(),
            contract: custom.contract.clone(),
            role: custom.role.clone(),
        }))
    }
}

/// The keys of sealed secrets; none is given, none can be opened.
fn keyring(
    at: &Key,
    file: Option<&PathBuf>,
    credential: Option<&String>,
    report: &mut Report<'_>,
) -> Option<Arc<Keyring>> {
    let written = Written { name: "seal-key", inline: None, file, credential };
    let mut keyring = Keyring::default();
    if !written.is_given() {
        return Some(Arc::new(keyring));
    }
    let secret = written.read(at, Reach::Network, report)?;
    let key = written.key(at);
    let right = "write lines of the form `id:base64 of 32 octets`";
    let Ok(text) = std::str::from_utf8(secret.expose()) else {
        report.refuse(&key, "the keys are no text", right);
        return None;
    };
    if let Err((line, problem)) = keyring.add(text) {
        report.refuse(&key, format!("line {line}: {problem}"), "");
        return None;
    }
    if keyring.ids().is_empty() {
        report.refuse(&key, "there is no key in it", right);
        return None;
    }
    Some(Arc::new(keyring))
}
