//! A service profile: everything that one service of the bank asks of its users.

use super::authority::Exceptions;
use super::letter::SetupLetter;
use super::life::TokenLife;
use super::operation::{Operation, Otherwise, Requirement};
use crate::identity::{OperationName, ServiceName};
use crate::otp::{Layout, Parameters};
use crate::radius::Packet;
use std::time::Duration;

/// A service profile. Each value is within its own bounds; [`Profile::contradictions`] looks at them together.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name in configuration.
    pub name: ServiceName,
    /// What codes are made of where a token's entry does not say.
    pub parameters: Parameters,
    /// Who checks the password.
    pub password: PasswordCheck,
    /// How password and code share the field.
    pub layout: Layout,
    /// Whether the code is asked for in a second step.
    pub second_step: SecondStep,
    /// The failure in a row that locks.
    pub max_failures: MaxFailures,
    /// How long a lock holds.
    pub lock: LockLength,
    /// Whether only users of enabled contracts are asked for codes.
    pub contracts: ContractRule,
    /// What a user without a token may do where a code is needed.
    pub without_token: WithoutToken,
    /// The earliest a reject leaves, counted from reception; jitter comes on top.
    pub reject_delay: RejectDelay,
    /// What a right code with a wrong password costs beside the code.
    pub wrong_password: WrongPassword,
    /// How long a challenge waits for its answer.
    pub challenge_lifetime: ChallengeLifetime,
    /// What the user reads.
    pub texts: Texts,
    /// The operations, in the order in which they are tried.
    pub operations: Vec<Operation>,
    /// What applies when none of them fits.
    pub otherwise: Otherwise,
    /// How tokens come and go.
    pub life: TokenLife,
    /// Who may do what, where that is not as everywhere.
    pub may: Exceptions,
    /// What the letter about an issued token says.
    pub letter: SetupLetter,
}

impl Profile {
    /// A profile with every default: the directory checks the password, the code is appended to it and always needed.
    pub fn new(name: ServiceName) -> Profile {
        Profile {
            name,
            parameters: Parameters::default(),
            password: PasswordCheck::Directory,
            layout: Layout::PasswordCode,
            second_step: SecondStep::Never,
            max_failures: MaxFailures::DEFAULT,
            lock: LockLength::UNTIL_RELEASED,
            contracts: ContractRule::Ignore,
            without_token: WithoutToken::Refuse,
            reject_delay: RejectDelay::DEFAULT,
            wrong_password: WrongPassword::CountsAndBurns,
            challenge_lifetime: ChallengeLifetime::DEFAULT,
            texts: Texts::japanese(),
            operations: Vec::new(),
            otherwise: Otherwise::default(),
            life: TokenLife::default(),
            may: Exceptions::default(),
            letter: SetupLetter::default(),
        }
    }

    /// What the request is for, and whether that needs a code: the first operation that fits, or what applies
    /// otherwise. `None` if the profile refuses what it does not know ([`crate::outcome::Reason::OperationUnknown`]).
    pub fn operation(&self, packet: &Packet<'_>) -> Option<(&OperationName, Requirement)> {
        match self.operations.iter().find(|operation| operation.fits(packet)) {
            Some(operation) => Some((&operation.name, operation.requirement)),
            None => match &self.otherwise {
                Otherwise::Ask(name, requirement) => Some((name, *requirement)),
                Otherwise::Refuse => None,
            },
        }
    }

    /// The same for an operation that somebody names, for `sekisho explain`. `None` for a name that is not here.
    pub fn named_operation(&self, name: &str) -> Option<(&OperationName, Requirement)> {
        let listed = self.operations.iter().map(|operation| (&operation.name, operation.requirement));
        let last = match &self.otherwise {
            Otherwise::Ask(name, requirement) => Some((name, *requirement)),
            Otherwise::Refuse => None,
        };
        listed.chain(last).find(|(known, _)| known.as_str() == name)
    }

    /// Everything in the profile that cannot work together.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        let nowhere = self.layout == Layout::Code && self.second_step != SecondStep::Always;
        if nowhere && self.password == PasswordCheck::Directory {
            found.push(Contradiction::NoPlaceForPassword);
        }
        if self.without_token == WithoutToken::Password && self.second_step != SecondStep::Never {
            found.push(Contradiction::PasswordInsteadOfSecondStep);
        }
        let fits_all = self.operations.iter().position(|operation| operation.conditions.is_empty());
        let after = fits_all.map_or(self.operations.len(), |at| at.saturating_add(1));
        let unreachable = self.operations.iter().skip(after);
        found
            .extend(unreachable.map(|operation| Contradiction::OperationUnreachable(operation.name.clone())));
        found
    }
}

/// Who checks the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    /// The directory, by a bind as the user.
    Directory,
    /// The gateway has checked it before it asked; what the field holds beside the code is not looked at.
    GatewayChecked,
}

/// Whether the code is asked for in a second step (RFC 2865 §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondStep {
    /// The code comes with the password or the answer is no.
    Never,
    /// If no code came, it is asked for.
    WhenMissing,
    /// The first field is the password alone; the code is always asked for.
    Always,
}

/// Whose contracts are asked for codes (S-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContractRule {
    /// Everybody's: contracts are not looked at.
    Ignore,
    /// Those that one-time passwords are enabled for under this service.
    Enable,
}

/// What a user without a token may do where a code is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutToken {
    /// Nothing (S-10).
    Refuse,
    /// The field is the confirmation password, checked by the directory (S-04, S-22).
    Password,
}

/// What a right code with a wrong password costs. The code itself is used up in any case (OTP-16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongPassword {
    /// It counts as a failure, so that our lock comes before the directory's (LDAP-26).
    CountsAndBurns,
    /// It does not count here, because the directory counts.
    Burns,
}

/// The failure in a row that locks: the first to the tenth (PCI DSS 8.3.4 allows ten).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxFailures(u16);

impl MaxFailures {
    /// The fifth: below the limits that directories usually have, so that ours comes first.
    pub const DEFAULT: MaxFailures = MaxFailures(5);

    /// # Errors
    /// Zero, or more than ten.
    pub fn new(failures: u64) -> Result<MaxFailures, ProfileProblem> {
        let bounded = u16::try_from(failures).ok().filter(|n| (1..=10).contains(n));
        bounded.map(MaxFailures).ok_or(ProfileProblem::MaxFailures)
    }

    /// The number.
    pub const fn count(self) -> u16 {
        self.0
    }
}

/// How long a lock holds: until somebody releases the user, or for half an hour or more (PCI DSS 8.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockLength(Option<Duration>);

impl LockLength {
    /// Until a master or admin user, or the bank's counter, releases the user (S-18).
    pub const UNTIL_RELEASED: LockLength = LockLength(None);
    /// The shortest that ends by itself.
    pub const SHORTEST: Duration = Duration::from_secs(30 * 60);

    /// # Errors
    /// Less than [`LockLength::SHORTEST`].
    pub fn timed(length: Duration) -> Result<LockLength, ProfileProblem> {
        if length < LockLength::SHORTEST { Err(ProfileProblem::Lock) } else { Ok(LockLength(Some(length))) }
    }

    /// The time, if it ends by itself.
    pub const fn duration(self) -> Option<Duration> {
        self.0
    }
}

/// The earliest a reject leaves, counted from reception: 0 to 10 s, the same for every cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectDelay(Duration);

impl RejectDelay {
    /// One second: what FreeRADIUS does.
    pub const DEFAULT: RejectDelay = RejectDelay(Duration::from_secs(1));
    /// The longest; more would only fill our tables.
    pub const LONGEST: Duration = Duration::from_secs(10);

    /// # Errors
    /// More than [`RejectDelay::LONGEST`]. Zero is for tests: it lets an attacker see how far a request came.
    pub fn new(delay: Duration) -> Result<RejectDelay, ProfileProblem> {
        if delay > RejectDelay::LONGEST { Err(ProfileProblem::RejectDelay) } else { Ok(RejectDelay(delay)) }
    }

    /// The time.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

/// How long a challenge waits for its answer: 10 to 120 whole seconds. It is told to the gateway as Session-Timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChallengeLifetime(u8);

impl ChallengeLifetime {
    /// One minute: time to find the phone.
    pub const DEFAULT: ChallengeLifetime = ChallengeLifetime(60);

    /// # Errors
    /// Below 10 s, above 120 s, or not whole seconds.
    pub fn new(length: Duration) -> Result<ChallengeLifetime, ProfileProblem> {
        u8::try_from(length.as_secs())
            .ok()
            .filter(|seconds| (10..=120).contains(seconds) && length.subsec_nanos() == 0)
            .map(ChallengeLifetime)
            .ok_or(ProfileProblem::ChallengeLifetime)
    }

    /// The time.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }

    /// The value of Session-Timeout.
    pub const fn seconds(self) -> u32 {
        self.0 as u32
    }
}

/// What the user reads. A reject says the same whatever the cause; `None` sends no Reply-Message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// With a reject.
    pub reject: Option<ReplyText>,
    /// With a challenge.
    pub challenge: Option<ReplyText>,
}

impl Texts {
    /// The texts in Japanese.
    pub fn japanese() -> Texts {
        Texts {
            reject: ReplyText::new("認証できませんでした。").ok(),
            challenge: ReplyText::new("ワンタイムパスワードを入力してください。").ok(),
        }
    }

    /// The texts in English.
    pub fn english() -> Texts {
        Texts {
            reject: ReplyText::new("Authentication failed.").ok(),
            challenge: ReplyText::new("Enter your one-time password.").ok(),
        }
    }
}

/// The text of one Reply-Message: 1 to 253 octets of UTF-8 on one line (RFC 2865 §5.18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyText(Box<str>);

impl ReplyText {
    /// # Errors
    /// Empty, longer than 253 octets, or with control characters in it.
    pub fn new(text: &str) -> Result<ReplyText, ProfileProblem> {
        if (1..=253).contains(&text.len()) && !text.chars().any(char::is_control) {
            Ok(ReplyText(text.into()))
        } else {
            Err(ProfileProblem::ReplyText)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A value of a profile that is out of its bounds: the fault of whoever configured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileProblem {
    /// Too few or too many failures.
    #[error("the number of failures that locks must be 1 to 10")]
    MaxFailures,
    /// A lock that is too short.
    #[error("a lock must hold until released, or at least 30 minutes")]
    Lock,
    /// A delay that is too long.
    #[error("the reject delay must be at most 10 seconds")]
    RejectDelay,
    /// A challenge that is too short or too long.
    #[error("the lifetime of a challenge must be 10 to 120 whole seconds")]
    ChallengeLifetime,
    /// A text that one attribute cannot carry.
    #[error("a reply text must be 1 to 253 octets of UTF-8 without control characters")]
    ReplyText,
}

/// Values that are right each and cannot work together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// The directory has to check a password that the field never holds.
    #[error(
        "with layout \"code\" no request carries the password that the directory is to check; use password = \"none\", \
         second-step = \"always\" or another layout"
    )]
    NoPlaceForPassword,
    /// A user without a token has no second step.
    #[error(
        "without-token = \"password\" reads the password from the field that else holds the code; it needs \
         second-step = \"never\""
    )]
    PasswordInsteadOfSecondStep,
    /// An operation after one that fits everything.
    #[error(
        "operation {0} is never reached: one before it has no conditions and fits every request; put that one last"
    )]
    OperationUnreachable(OperationName),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn otp_18_limits_have_bounds() {
        for (failures, good) in [(0, false), (1, true), (10, true), (11, false), (65_541, false)] {
            assert_eq!(MaxFailures::new(failures).is_ok(), good, "{failures}");
        }
        for (seconds, good) in [(0, false), (1799, false), (1800, true), (86_400, true)] {
            assert_eq!(LockLength::timed(Duration::from_secs(seconds)).is_ok(), good, "{seconds}");
        }
        for (millis, good) in
            [(9_999, false), (10_000, true), (10_500, false), (120_000, true), (121_000, false)]
        {
            assert_eq!(ChallengeLifetime::new(Duration::from_millis(millis)).is_ok(), good, "{millis}");
        }
        assert!(RejectDelay::new(Duration::from_secs(10)).is_ok());
        assert!(RejectDelay::new(Duration::from_millis(10_001)).is_err());
    }

    #[test]
    fn reply_texts_fit_one_attribute() {
        for (text, good) in [
            (String::new(), false),
            ("あ".repeat(84), true),
            ("あ".repeat(85), false),
            ("a\nb".into(), false),
        ] {
            assert_eq!(ReplyText::new(&text).is_ok(), good, "{text}");
        }
        for texts in [Texts::japanese(), Texts::english()] {
            assert!(texts.reject.is_some() && texts.challenge.is_some());
        }
    }

    #[test]
    fn contradictions_are_found() {
        let mut profile = Profile::new(ServiceName::new("p"));
        assert_eq!(profile.contradictions(), []);
        profile.layout = Layout::Code;
        let operation = |name| Operation {
            name: OperationName::new(name),
            conditions: vec![],
            requirement: Requirement::Never,
        };
        profile.operations = vec![operation("login"), operation("late")];
        let late = Contradiction::OperationUnreachable(OperationName::new("late"));
        assert_eq!(profile.contradictions(), [Contradiction::NoPlaceForPassword, late.clone()]);
        profile.second_step = SecondStep::Always;
        assert_eq!(profile.contradictions(), [late]);
    }
}
