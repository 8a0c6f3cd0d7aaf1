//! The service profiles.

use super::Report;
use super::client::name_is_usable;
use crate::config::file;
use crate::config::problem::Key;
use crate::config::value::{Length, Lock};
use crate::identity::{OperationName, ServiceName};
use crate::otp::{Algorithm, Digits, Layout, Moving, Parameters, Period, Window};
use crate::policy::{
    ChallengeLifetime, ClosedDay, Condition, ContractRule, Contradiction, Exceptions, IdsTold,
    LetterLanguage, LockLength, MaxFailures, Operation, Otherwise, PasswordCheck, Profile, RejectDelay,
    ReplyText, Requirement, SecondStep, SetupLetter, Texts, TokenLife, Undecided, WithoutToken,
    WrongPassword,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Builds all profiles. One with an error is there with defaults in the place of what is wrong, so that those who refer
/// to it find it.
pub fn profiles(
    written: Option<&BTreeMap<String, file::Service>>,
    report: &mut Report<'_>,
) -> Vec<Arc<Profile>> {
    let profile = |(name, service): (&String, &file::Service)| {
        let at = Key::of(&["service", name]);
        name_is_usable(name, &at, report);
        Arc::new(Table { at, service, report }.build(name))
    };
    written.into_iter().flatten().map(profile).collect()
}

/// One `[service.<name>]`.
struct Table<'t, 'l> {
    at: Key,
    service: &'t file::Service,
    report: &'t mut Report<'l>,
}

impl Table<'_, '_> {
    fn build(mut self, name: &str) -> Profile {
        let defaults = Profile::new(ServiceName::new(name));
        let service = self.service;
        let mut profile = Profile {
            parameters: self.parameters(),
            password: match service.password {
                Some(file::Password::None) => PasswordCheck::GatewayChecked,
                _ => PasswordCheck::Directory,
            },
            layout: self.kept("layout", service.layout.as_deref().map(Layout::parse), defaults.layout),
            second_step: match service.second_step {
                Some(file::SecondStep::WhenMissing) => SecondStep::WhenMissing,
                Some(file::SecondStep::Always) => SecondStep::Always,
                _ => SecondStep::Never,
            },
            max_failures: self.kept(
                "max-failures",
                service.max_failures.map(MaxFailures::new),
                defaults.max_failures,
            ),
            lock: match service.lock {
                Some(Lock::For(Length(length))) => {
                    self.kept("lock", Some(LockLength::timed(length)), defaults.lock)
                }
                _ => LockLength::UNTIL_RELEASED,
            },
            reject_delay: self.kept(
                "reject-delay",
                service.reject_delay.map(|delay| RejectDelay::new(delay.0)),
                defaults.reject_delay,
            ),
            wrong_password: match service.wrong_password {
                Some(file::WrongPassword::Burns) => WrongPassword::Burns,
                _ => WrongPassword::CountsAndBurns,
            },
            challenge_lifetime: self.kept(
                "challenge-lifetime",
                service.challenge_lifetime.map(|length| ChallengeLifetime::new(length.0)),
                defaults.challenge_lifetime,
            ),
            contracts: match service.contracts {
                Some(file::ContractRule::Enable) => ContractRule::Enable,
                _ => ContractRule::Ignore,
            },
            without_token: match service.without_token {
                Some(file::WithoutToken::Password) => WithoutToken::Password,
                _ => WithoutToken::Refuse,
            },
            texts: self.texts(),
            operations: Vec::new(),
            otherwise: self.otherwise(),
            life: self.life(defaults.life),
            may: Exceptions(super::admin::roles(service.may.as_ref())),
            letter: self.letter(),
            name: defaults.name,
        };
        let mut keys = Vec::new();
        for (index, operation) in service.operation.iter().flatten().enumerate() {
            let key = self.at.name("operation").item(index);
            if let Some(operation) = self.operation(&key, operation, &profile.operations) {
                keys.push(key);
                profile.operations.push(operation);
            }
        }
        for contradiction in profile.contradictions() {
            let key = match &contradiction {
                Contradiction::NoPlaceForPassword => self.at.name("layout"),
                Contradiction::PasswordInsteadOfSecondStep => self.at.name("without-token"),
                Contradiction::OperationUnreachable(name) => {
                    let last = profile.operations.iter().rposition(|operation| operation.name == *name);
                    let key = last.and_then(|index| keys.get(index));
                    key.map_or_else(|| self.at.name("operation"), |key| key.name("match"))
                }
            };
            self.report.refuse(&key, contradiction.to_string(), "");
        }
        profile
    }

    /// The value that was made, or `default` after its refusal.
    fn kept<T, E: std::fmt::Display>(&mut self, name: &str, made: Option<Result<T, E>>, default: T) -> T {
        let key = self.at.name(name);
        made.and_then(|made| self.report.keep(&key, made)).unwrap_or(default)
    }

    fn parameters(&mut self) -> Parameters {
        let service = self.service;
        let window = service.window.map(|window| Window::new(window.back, window.forward));
        Parameters {
            algorithm: match service.algorithm {
                Some(file::Algorithm::Sha256) => Algorithm::Sha256,
                Some(file::Algorithm::Sha512) => Algorithm::Sha512,
                _ => Algorithm::Sha1,
            },
            digits: self.kept("digits", service.digits.map(Digits::new), Digits::EIGHT),
            moving: Moving::Time {
                period: self.kept(
                    "period",
                    service.period.map(|period| Period::new(period.0)),
                    Period::MINUTE,
                ),
            },
            window: self.kept("window", window, Window::ONE),
        }
    }

    fn texts(&mut self) -> Texts {
        let service = self.service;
        let shipped = match service.language {
            Some(file::Language::En) => Texts::english(),
            _ => Texts::japanese(),
        };
        let mut text = |name: &str, own: &Option<String>, shipped| match own.as_deref() {
            None => shipped,
            Some("") => None,
            Some(text) => self.report.keep(&self.at.name(name), ReplyText::new(text)),
        };
        Texts {
            reject: text("reject-text", &service.reject_text, shipped.reject),
            challenge: text("challenge-text", &service.challenge_text, shipped.challenge),
        }
    }

    fn life(&mut self, defaults: TokenLife) -> TokenLife {
        let service = self.service;
        let closed = service.reissue_closed.as_deref().map(|hours| hours.parse().map(Some));
        let zone = service.time_zone.as_deref().unwrap_or("Asia/Tokyo");
        self.check_time_zone(zone);
        let mut closed_days = Vec::new();
        for text in service.reissue_closed_days.iter().flat_map(|days| &days.0) {
            let key = self.at.name("reissue-closed-days");
            closed_days.extend(self.report.keep(&key, text.parse::<ClosedDay>()));
        }
        TokenLife {
            reissue_after: service.reissue_after.map_or(defaults.reissue_after, |length| length.0),
            reissue_closed: self.kept("reissue-closed", closed, None),
            closed_days,
            time_zone: zone.into(),
            setup_lifetime: self.report.length(
                &self.at.name("setup-lifetime"),
                service.setup_lifetime,
                Duration::from_secs(600)..=Duration::from_secs(90 * 86_400),
            ),
            start_password: self.kept(
                "start-password",
                service.start_password.as_deref().map(str::parse),
                defaults.start_password,
            ),
            lifetime: service
                .token_lifetime
                .map(|length| length.0)
                .filter(|length| !self.is_too_short(*length)),
            renewal_from: service.renewal_from.map_or(defaults.renewal_from, |length| length.0),
            undecided: match service.undecided {
                Some(file::Undecided::NotRequired) => Undecided::NotRequired,
                _ => Undecided::Required,
            },
        }
    }

    fn letter(&mut self) -> SetupLetter {
        let service = self.service;
        let link = service.setup_link.as_deref().map(SetupLetter::link);
        SetupLetter {
            link: self.kept("setup-link", link, "".into()),
            ids: match service.setup_ids {
                Some(file::SetupIds::Screen) => IdsTold::Screen,
                _ => IdsTold::Mail,
            },
            language: match service.language {
                Some(file::Language::En) => LetterLanguage::English,
                _ => LetterLanguage::Japanese,
            },
        }
    }

    fn is_too_short(&mut self, lifetime: Duration) -> bool {
        let renewal = self.service.renewal_from.map_or(Duration::ZERO, |length| length.0);
        let short = lifetime <= renewal;
        if short {
            let why = "a token would be due for renewal from its first day";
            self.report.refuse(&self.at.name("token-lifetime"), why, "make it longer than renewal-from");
        }
        short
    }

    fn check_time_zone(&mut self, zone: &str) {
        if jiff::tz::TimeZone::get(zone).is_ok() {
            return;
        }
        let key = self.at.name("time-zone");
        if jiff::tz::db().available().next().is_some() {
            self.report.refuse(
                &key,
                "this time zone is not known",
                r#"write an IANA name such as "Asia/Tokyo""#,
            );
        } else {
            self.report.warn(&key, "this system knows no time zones", "install tzdata");
        }
    }

    fn operation(&mut self, at: &Key, written: &file::Operation, earlier: &[Operation]) -> Option<Operation> {
        let name_key = at.name("name");
        let name = self.report.need(&name_key, written.name.as_deref(), "write a name for logs and evidence");
        let name = name.filter(|name| name_is_usable(name, &name_key, self.report)).map(OperationName::new);
        let code = self.report.need(
            &at.name("code"),
            written.code,
            r#"write "required", "optional", "never" or "user-choice""#,
        );
        let example = r#"write { NAS-Port-Id = "transfer" }, or {} for every request"#;
        let matched = self.report.need(&at.name("match"), written.r#match.as_ref(), example)?;
        let mut conditions = Vec::new();
        for (attribute, texts) in matched {
            let key = at.name("match").name(attribute);
            let attribute = self.report.keep(&key, attribute.parse());
            let condition =
                attribute.and_then(|attribute| self.report.keep(&key, Condition::new(attribute, &texts.0)));
            conditions.push(condition);
        }
        let operation = Operation {
            name: name?,
            conditions: conditions.into_iter().collect::<Option<_>>()?,
            requirement: requirement(code?),
        };
        let other = earlier.iter().find(|other| other.name == operation.name);
        if other.is_some_and(|other| other.requirement != operation.requirement) {
            let why = "an operation of this name stands above with another rule";
            self.report.refuse(&at.name("code"), why, "give both the same code, or different names");
        }
        Some(operation)
    }

    fn otherwise(&mut self) -> Otherwise {
        let Some(written) = &self.service.otherwise else { return Otherwise::default() };
        let requirement = match written.code {
            Some(file::OtherwiseCode::Refuse) => return Otherwise::Refuse,
            Some(file::OtherwiseCode::Optional) => Requirement::Optional,
            Some(file::OtherwiseCode::Never) => Requirement::Never,
            Some(file::OtherwiseCode::UserChoice) => Requirement::UserChoice,
            Some(file::OtherwiseCode::Required) | None => Requirement::Required,
        };
        let name = written.name.as_deref().unwrap_or("other");
        name_is_usable(name, &self.at.name("otherwise").name("name"), self.report);
        Otherwise::Ask(OperationName::new(name), requirement)
    }
}

fn requirement(code: file::Requirement) -> Requirement {
    match code {
        file::Requirement::Required => Requirement::Required,
        file::Requirement::Optional => Requirement::Optional,
        file::Requirement::Never => Requirement::Never,
        file::Requirement::UserChoice => Requirement::UserChoice,
    }
}
