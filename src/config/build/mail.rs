//! Mail: the server, the sender, and the templates that replace those that ship.

use super::Report;
use super::secret::{Reach, Written};
use crate::config::file;
use crate::config::problem::Key;
use crate::mail::{self, Server, Template, Templates, Tls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::io::ErrorKind;

/// `[mail]`.
pub struct Mail {
    /// What letters say, sent or not.
    pub templates: Templates,
    /// How they are sent; `None` if nothing is mailed.
    pub post: Option<mail::Settings>,
}

/// Builds `[mail]`; `None` after a problem.
pub fn mail(written: &file::Mail, report: &mut Report<'_>) -> Option<Mail> {
    let mut table = Table { at: Key::of(&["mail"]), written, report };
    let templates = table.templates();
    let post = match &written.server {
        Some(server) => table.post(server).map(Some),
        None => table.nothing_is_mailed().then_some(None),
    };
    Some(Mail { templates: templates?, post: post? })
}

struct Table<'t, 'l> {
    at: Key,
    written: &'t file::Mail,
    report: &'t mut Report<'l>,
}

impl Table<'_, '_> {
    /// Without a server nothing else of the table means anything: whoever wrote it meant to have one.
    fn nothing_is_mailed(&mut self) -> bool {
        let written = self.written;
        let meant = written.from.is_some()
            || written.user.is_some()
            || written.password_file.is_some()
            || written.password_credential.is_some();
        if meant {
            let right = r#"write the mail server, such as "smtp.example.jp:587", or take the table away"#;
            self.report.missing(&self.at.name("server"), "it is missing, so nothing would be mailed", right);
        }
        !meant
    }

    fn post(&mut self, server: &str) -> Option<mail::Settings> {
        let written = self.written;
        let tls = match written.tls? {
            file::MailTls::Implicit => Tls::Implicit,
            file::MailTls::StartTls => Tls::StartTls,
            file::MailTls::None => Tls::None,
        };
        let server = self.report.keep(&self.at.name("server"), Server::parse(server, tls));
        let cleartext = written.allow_cleartext == Some(true);
        if let Some(server) = &server
            && tls == Tls::None
            && !server.is_loopback()
        {
            let why = "letters with names and ids would cross the network in clear";
            let right = "use start-tls or implicit, or set allow-cleartext = true";
            if cleartext {
                self.report.warn(&self.at.name("allow-cleartext"), why, "use start-tls or implicit");
            } else {
                self.report.refuse(&self.at.name("tls"), why, right);
            }
        }
        let from_key = self.at.name("from");
        let example = r#"write the sender, such as "Example Bank <otp@example.jp>""#;
        let from = self.report.need(&from_key, written.from.as_deref(), example);
        let from = from.and_then(|from| self.report.keep(&from_key, from.parse()));
        let authorities = if tls == Tls::None { Some(Vec::new()) } else { self.authorities() };
        let login = self.login(tls, server.as_ref());
        Some(mail::Settings {
            server: server?,
            tls,
            authorities: authorities?,
            from: from?,
            login: login?,
            deadline: mail::DEADLINE,
            first_pause: mail::FIRST_PAUSE,
        })
    }

    /// The outer `None` is a problem, the inner one means that nobody logs in.
    fn login(
        &mut self,
        tls: Tls,
        server: Option<&Server>,
    ) -> Option<Option<(String, crate::secret::Secret)>> {
        let written = self.written;
        let password = Written {
            name: "password",
            inline: None,
            file: written.password_file.as_ref(),
            credential: written.password_credential.as_ref(),
        };
        let Some(user) = &written.user else {
            if password.is_given() {
                let right = "write the name that logs in, or take the password away";
                self.report.missing(&self.at.name("user"), "there is a password and nobody to log in", right);
                return None;
            }
            return Some(None);
        };
        if tls == Tls::None && !server.is_none_or(Server::is_loopback) {
            let why = "a password would cross the network in clear";
            self.report.refuse(&self.at.name("user"), why, "use start-tls or implicit");
            return None;
        }
        let secret = password.read(&self.at, Reach::Network, self.report)?;
        Some(Some((user.clone(), secret)))
    }

    fn authorities(&mut self) -> Option<Vec<CertificateDer<'static>>> {
        let key = self.at.name("ca-file");
        let file = self.report.path(&key, self.written.ca_file.as_ref()?);
        let read =
            std::fs::read(&file).map_err(|error| format!("{} cannot be read: {error}", file.display()));
        let read = read.and_then(|text| {
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
            certificates.map_err(|error| format!("{}: {error}", file.display()))
        });
        let right = "name a PEM file with the authorities of the mail server's certificate";
        match read {
            Ok(certificates) if !certificates.is_empty() => Some(certificates),
            Ok(_) => {
                self.report.refuse(&key, format!("{}: there is no certificate in it", file.display()), right);
                None
            }
            Err(why) => {
                self.report.refuse(&key, why, right);
                None
            }
        }
    }

    /// The templates that ship, each replaced by the file of its name where there is one.
    fn templates(&mut self) -> Option<Templates> {
        let key = self.at.name("templates");
        let mut templates = self.report.keep(&key, Templates::shipped())?;
        let Some(folder) = &self.written.templates else { return Some(templates) };
        let folder = self.report.path(&key, folder);
        let mut found = 0_usize;
        for (kind, language, name) in mail::FILES {
            let file = folder.join(name);
            let template = match std::fs::read(&file) {
                Ok(octets) => Template::parse(&octets, kind).map_err(|problem| problem.to_string()),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => Err(error.to_string()),
            };
            found = found.saturating_add(1);
            match template {
                Ok(template) => templates.replace(kind, language, template),
                Err(why) => self.report.refuse(&key, format!("{}: {why}", file.display()), ""),
            }
        }
        if found == 0 {
            let names = mail::FILES.map(|(_, _, name)| name).join(", ");
            let why = format!("there is no template in {}", folder.display());
            self.report.refuse(&key, why, format!("put one of {names} there"));
        }
        Some(templates)
    }
}
