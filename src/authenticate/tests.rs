//! Tables of facts and the decisions they lead to.

use super::*;
use crate::clock::Wall;
use crate::identity::{EntryId, ServiceName, TokenSerial};
use crate::lockout::{Lock, Lockout};
use crate::otp::{self, Algorithm, Digits, Moving, Parameters, Period, Step, Window};
use crate::outcome::Reason;
use crate::policy::{PasswordCheck, Profile, Requirement, SecondStep, WithoutToken};
use crate::secret::Secret;
use crate::tokens::{
    Account, AccountStanding, FAILURES_DISABLE, KeptTokens, KeptUser, LoginCode, Past, Role, Standing, Token,
    Tokens, User,
};

const NOW: Wall = Wall::from_seconds(1_700_000_010);
const KEY: &[u8; 20] = b"12345678901234567890";
const OTHER_KEY: &[u8; 20] = b"09876543210987654321";

fn token(id: u8, key: &[u8], digits: Digits) -> Token {
    let secret = Secret::new(key);
    Token {
        id: EntryId::new([id; 16]),
        serial: TokenSerial::new(&format!("T{id}")),
        parameters: Parameters {
            algorithm: Algorithm::Sha1,
            digits,
            moving: Moving::Time { period: Period::HALF_MINUTE },
            window: Window::ONE,
        },
        imprint: Token::imprint_of(&secret),
        secret,
        spent: None,
        begins: None,
        ends: None,
        standing: Standing::Active,
    }
}

fn user(tokens: Vec<Token>) -> User {
    User {
        id: EntryId::new([1; 16]),
        name: "alice".into(),
        dn: "uid=alice".into(),
        contract: None,
        role: Role::General,
        login_code: None,
        account: Account::default(),
        tokens: Tokens::These(tokens),
    }
}

/// What a token shows `steps` away from now.
fn shown(token: &Token, steps: i64) -> String {
    let step = Step((1_700_000_010 / 30_u64).checked_add_signed(steps).unwrap());
    let number = otp::truncated(token.secret.expose(), token.parameters.algorithm, step);
    let digits = token.parameters.digits.count();
    format!("{:0digits$}", u64::from(number) % 10_u64.pow(u32::try_from(digits).unwrap()))
}

struct Case {
    profile: Profile,
    requirement: Requirement,
    user: User,
    contract: Contracted,
    lockout: Lockout,
    pasts: Vec<Past>,
    first: Option<&'static str>,
}

impl Case {
    fn new(tokens: Vec<Token>) -> Case {
        let pasts = vec![Past::default(); tokens.len()];
        Case {
            profile: Profile::new(ServiceName::new("test")),
            requirement: Requirement::Required,
            user: user(tokens),
            contract: Contracted::Asked,
            lockout: Lockout::default(),
            pasts,
            first: None,
        }
    }

    fn one() -> Case {
        Case::new(vec![token(1, KEY, Digits::SIX)])
    }

    fn facts<'a>(&'a self, field: &'a str, tokens: &'a KeptTokens<'a>) -> Facts<'a> {
        Facts {
            profile: &self.profile,
            requirement: self.requirement,
            account: self.user.account,
            login_code: self.user.login_code,
            tokens,
            contract: self.contract,
            lockout: self.lockout,
            pasts: &self.pasts,
            field: field.as_bytes(),
            stage: match self.first {
                None => Stage::First,
                Some(password) => Stage::Second { password: password.as_bytes() },
            },
            now: NOW,
            clock_hint: ClockHint::Look,
        }
    }

    fn code(&self, token: usize, steps: i64) -> String {
        let Tokens::These(tokens) = &self.user.tokens else { panic!("the tests know their tokens") };
        shown(&tokens[token], steps)
    }

    /// The decision in words: what a reader of the table wants to see.
    fn decide(&self, field: &str) -> String {
        let kept = KeptUser::new(&self.user);
        let tokens = kept.tokens();
        match decide(&self.facts(field, &tokens)) {
            Decision::Accept(reason) => format!("accept {}", reason.text()),
            Decision::Reject(refusal) => format!("reject {}", words(&refusal)),
            Decision::PasswordInstead(password) => format!("instead {}", String::from_utf8_lossy(password)),
            Decision::Challenge(None) => "challenge".into(),
            Decision::Challenge(Some(refusal)) => format!("challenge {}", words(&refusal)),
            Decision::Verify { codes, password } => {
                let tokens: Vec<String> = codes.iter().map(|code| code.token.to_string()).collect();
                let password = password.map(|octets| String::from_utf8_lossy(octets).into_owned());
                format!("verify [{}] {}", tokens.join(","), password.as_deref().unwrap_or("-"))
            }
        }
    }
}

fn words(refusal: &Refusal) -> String {
    let counts = if refusal.counts == Counts::Failure { "!" } else { "" };
    format!("{}{counts}", refusal.reason.text())
}

#[test]
fn rad_01_password_and_code_leave_the_password() {
    let case = Case::one();
    assert_eq!(case.decide(&format!("secret{}", case.code(0, 0))), "verify [0] secret");
    assert_eq!(case.decide(&format!("pw 2024;,{}", case.code(0, 0))), "verify [0] pw 2024;,");
}

#[test]
fn otp_09_the_window_is_one_step_to_each_side() {
    let case = Case::one();
    for (steps, expected) in [
        (-2, "reject code-other-time!"),
        (-1, "verify [0] pw"),
        (1, "verify [0] pw"),
        (2, "reject code-other-time!"),
    ] {
        assert_eq!(case.decide(&format!("pw{}", case.code(0, steps))), expected, "{steps}");
    }
}

#[test]
fn otp_07_a_step_at_or_below_the_last_is_used() {
    let mut case = Case::one();
    let now = 1_700_000_010 / 30;
    case.pasts[0].last = Some(Step(now));
    assert_eq!(case.decide(&format!("pw{}", case.code(0, 0))), "reject code-used");
    assert_eq!(case.decide(&format!("pw{}", case.code(0, -1))), "reject code-used");
    assert_eq!(case.decide(&format!("pw{}", case.code(0, 1))), "verify [0] pw");
}

#[test]
fn ldap_20_what_the_directory_calls_used_is_used() {
    let mut spent = token(1, KEY, Digits::SIX);
    spent.spent = Some(Step(1_700_000_010 / 30));
    let case = Case::new(vec![spent]);
    assert_eq!(case.decide(&format!("pw{}", case.code(0, 0))), "reject code-used");
    assert_eq!(case.decide(&format!("pw{}", case.code(0, 1))), "verify [0] pw");
}

#[test]
fn otp_15_nothing_left_for_the_password_asks_nobody_and_uses_nothing() {
    let case = Case::one();
    assert_eq!(case.decide(&case.code(0, 0)), "reject password-empty");
    assert_eq!(case.decide("12345"), "reject code-missing");
    assert_eq!(case.decide(""), "reject code-missing");
}

#[test]
fn otp_17_a_wrong_code_never_reaches_the_directory() {
    let mut case = Case::one();
    case.profile.password = PasswordCheck::Directory;
    let wrong = format!("{:06}", (case.code(0, 0).parse::<u32>().unwrap() + 1) % 1_000_000);
    assert!(case.decide(&format!("secret{wrong}")).starts_with("reject code-"));
}

#[test]
fn otp_27_the_token_decides_the_split() {
    let case = Case::new(vec![token(1, KEY, Digits::SIX), token(2, OTHER_KEY, Digits::EIGHT)]);
    assert_eq!(case.decide(&format!("pw{}", case.code(0, 0))), "verify [0] pw");
    assert_eq!(case.decide(&format!("pw{}", case.code(1, 0))), "verify [1] pw");
    assert_eq!(case.decide(&format!("pass1234{}", case.code(0, 0))), "verify [0] pass1234");
    assert_eq!(case.decide(&format!("12345678{}", case.code(1, 0))), "verify [1] 12345678");
}

#[test]
fn two_tokens_that_match_the_same_tail_are_both_used_up() {
    let case = Case::new(vec![token(1, KEY, Digits::SIX), token(2, KEY, Digits::EIGHT)]);
    assert_eq!(case.decide(&format!("pw{}", case.code(1, 0))), "verify [1,0] pw");
}

#[test]
fn s_17_a_locked_user_is_refused_with_a_right_code() {
    let mut case = Case::one();
    case.lockout = Lockout { failures: 5, lock: Lock::UntilReleased };
    assert_eq!(case.decide(&format!("pw{}", case.code(0, 0))), "reject locked");
    case.requirement = Requirement::Never;
    assert_eq!(case.decide("pw"), "reject locked");
}

#[test]
fn otp_19_a_disabled_token_is_refused_and_the_other_one_works() {
    let mut case = Case::new(vec![token(1, KEY, Digits::SIX), token(2, OTHER_KEY, Digits::SIX)]);
    case.pasts[0].failures = FAILURES_DISABLE;
    assert!(case.decide(&format!("pw{}", case.code(0, 0))).starts_with("reject code-"));
    assert_eq!(case.decide(&format!("pw{}", case.code(1, 0))), "verify [1] pw");
    case.pasts[1].failures = FAILURES_DISABLE;
    assert_eq!(case.decide(&format!("pw{}", case.code(1, 0))), "reject token-disabled");
}

#[test]
fn otp_28_a_token_that_may_not_be_used_names_its_reason() {
    type Change = fn(&mut Token);
    let table: [(Change, &str); 4] = [
        (|token| token.standing = Standing::Suspended, "reject token-suspended"),
        (|token| token.ends = Some(NOW), "reject token-expired"),
        (|token| token.begins = Some(Wall::from_seconds(1_700_000_011)), "reject token-not-yet-valid"),
        (
            |token| token.standing = Standing::Unusable(crate::tokens::Defect::SecretMissing),
            "reject token-unusable",
        ),
    ];
    for (change, expected) in table {
        let mut changed = token(1, KEY, Digits::SIX);
        change(&mut changed);
        let case = Case::new(vec![changed]);
        assert_eq!(case.decide(&format!("pw{}", case.code(0, 0))), expected);
    }
}

#[test]
fn s_10_a_user_without_a_token_is_refused_what_needs_a_code() {
    let mut case = Case::new(vec![]);
    assert_eq!(case.decide("pw123456"), "reject no-token");
    case.requirement = Requirement::Never;
    assert_eq!(case.decide("pw123456"), "verify [] pw123456");
    case.user.tokens = Tokens::TooMany(10_000);
    case.requirement = Requirement::Required;
    assert_eq!(case.decide("pw123456"), "reject tokens-too-many");
}

#[test]
fn s_09_never_neither_needs_nor_checks_a_code() {
    let mut case = Case::one();
    case.requirement = Requirement::Never;
    let field = format!("pw{}", case.code(0, 0));
    assert_eq!(case.decide(&field), format!("verify [] {field}"));
    case.profile.password = PasswordCheck::GatewayChecked;
    assert_eq!(case.decide(&field), "accept code-not-asked");
}

#[test]
fn s_09_optional_checks_a_code_that_is_there() {
    let mut case = Case::one();
    case.requirement = Requirement::Optional;
    assert_eq!(case.decide(&format!("pw{}", case.code(0, 0))), "verify [0] pw");
    assert_eq!(case.decide("pw"), "verify [] pw");
    assert_eq!(case.decide("pw123456"), "verify [] pw123456");
    case.profile.password = PasswordCheck::GatewayChecked;
    assert_eq!(case.decide("pw"), "accept code-not-asked");
    assert!(case.decide("pw123456").starts_with("reject code-"));
}

#[test]
fn s_08_the_user_chooses_for_login() {
    let mut case = Case::one();
    case.requirement = Requirement::UserChoice;
    case.user.login_code = Some(LoginCode::NotRequired);
    assert_eq!(case.decide("pw"), "verify [] pw");
    case.user.login_code = Some(LoginCode::Required);
    assert_eq!(case.decide("pw"), "reject code-missing");
}

#[test]
fn the_gateway_may_have_checked_the_password() {
    let mut case = Case::one();
    case.profile.password = PasswordCheck::GatewayChecked;
    assert_eq!(case.decide(&format!("whatever{}", case.code(0, 0))), "verify [0] -");
    assert_eq!(case.decide(&case.code(0, 0)), "verify [0] -");
}

#[test]
fn ldap_24_a_locked_account_is_refused_before_anything_is_tried() {
    let mut case = Case::one();
    case.user.account.standing = AccountStanding::Locked(None);
    assert_eq!(case.decide(&format!("pw{}", case.code(0, 0))), "reject account-locked");
}

#[test]
fn chl_01_always_asks_for_the_code_in_a_second_step() {
    let mut case = Case::one();
    case.profile.second_step = SecondStep::Always;
    assert_eq!(case.decide("secret123456"), "challenge");
    case.first = Some("secret123456");
    assert_eq!(case.decide(&case.code(0, 0)), "verify [0] secret123456");
    assert_eq!(case.decide(&format!("x{}", case.code(0, 0))), "reject code-wrong!");
    case.first = Some("");
    assert_eq!(case.decide(&case.code(0, 0)), "reject password-empty");
}

#[test]
fn chl_07_whoever_cannot_succeed_is_challenged_like_everybody() {
    let mut case = Case::one();
    case.profile.second_step = SecondStep::Always;
    case.lockout = Lockout { failures: 5, lock: Lock::UntilReleased };
    assert_eq!(case.decide("pw"), "challenge locked");
    let empty = Case { profile: case.profile.clone(), ..Case::new(vec![]) };
    assert_eq!(empty.decide("pw"), "challenge no-token");
    let stranger = refuse_stranger(&case.profile, Requirement::Required, Stage::First, Reason::UserUnknown);
    assert!(matches!(stranger, Decision::Challenge(Some(_))));
    let second = Stage::Second { password: b"pw" };
    let stranger = refuse_stranger(&case.profile, Requirement::Required, second, Reason::UserUnknown);
    assert!(matches!(stranger, Decision::Reject(_)));
}

#[test]
fn when_missing_challenges_unless_everything_came_at_once() {
    let mut case = Case::one();
    case.profile.second_step = SecondStep::WhenMissing;
    assert_eq!(case.decide("pw"), "challenge");
    assert_eq!(case.decide(&format!("pw{}", case.code(0, 0))), "verify [0] pw");
    // A wrong code and a password that ends in digits look alike: both are challenged, and the guess counts.
    assert!(case.decide("pw123456").starts_with("challenge code-"));
    assert!(case.decide("pw123456").ends_with('!'));
}

#[test]
fn otp_14_only_ascii_digits_are_a_code() {
    let case = Case::one();
    let code = case.code(0, 0);
    let wide: String = code.chars().map(|c| char::from_u32(u32::from(c) - 0x30 + 0xff10).unwrap()).collect();
    for field in [format!("pw{wide}"), format!("pw{code} "), format!("pw+{}", &code[1..])] {
        assert!(case.decide(&field).starts_with("reject code-"), "{field}");
    }
}

#[test]
fn s_11_users_of_a_contract_that_is_not_enabled_are_not_asked() {
    let mut case = Case::one();
    case.contract = Contracted::NotAsked;
    for requirement in [Requirement::Required, Requirement::Optional, Requirement::UserChoice] {
        case.requirement = requirement;
        case.profile.password = PasswordCheck::Directory;
        assert_eq!(case.decide("password"), "verify [] password");
        case.profile.password = PasswordCheck::GatewayChecked;
        assert_eq!(case.decide(""), "accept code-not-asked");
    }
    // Where the code takes the place of the confirmation password, that one is asked for.
    case.requirement = Requirement::Required;
    case.profile.without_token = WithoutToken::Password;
    assert_eq!(case.decide("confirmation"), "instead confirmation");
    case.lockout = Lockout { failures: 5, lock: Lock::UntilReleased };
    assert_eq!(case.decide("confirmation"), "reject locked");
}

#[test]
fn s_04_s_22_without_a_token_the_field_is_the_confirmation_password() {
    let standing = |standing| {
        let mut case = Case::new(vec![Token { standing, ..token(1, KEY, Digits::SIX) }]);
        case.profile.password = PasswordCheck::GatewayChecked;
        case.profile.layout = otp::Layout::Code;
        case.profile.without_token = WithoutToken::Password;
        case
    };
    let mut none = standing(Standing::Active);
    (none.user.tokens, none.pasts) = (Tokens::These(Vec::new()), Vec::new());
    assert_eq!(none.decide("confirmation"), "instead confirmation");
    assert_eq!(none.decide(""), "reject password-empty");
    none.profile.without_token = WithoutToken::Refuse;
    assert_eq!(none.decide("confirmation"), "reject no-token");
    assert_eq!(standing(Standing::Revoked).decide("confirmation"), "instead confirmation");

    // A token that waits for its first code takes that; until then the password goes on.
    let waiting = standing(Standing::AwaitsConfirmation);
    assert_eq!(waiting.decide(&waiting.code(0, 0)), "verify [0] -");
    assert_eq!(waiting.decide("confirmation"), "instead confirmation");
    assert_eq!(waiting.decide("000000"), "instead 000000");

    // Whoever has a token, in whatever state, has no way around it.
    let active = standing(Standing::Active);
    assert_eq!(active.decide(&active.code(0, 0)), "verify [0] -");
    assert!(active.decide("confirmation").starts_with("reject"));
    assert_eq!(standing(Standing::Suspended).decide("confirmation"), "reject token-suspended");
    let mut expired = standing(Standing::Active);
    if let Tokens::These(tokens) = &mut expired.user.tokens {
        tokens[0].ends = Some(NOW);
    }
    assert_eq!(expired.decide("confirmation"), "reject token-expired");
    let mut worn = standing(Standing::Active);
    worn.pasts[0].failures = FAILURES_DISABLE;
    assert_eq!(worn.decide("confirmation"), "reject token-disabled");
}

#[test]
fn otp_34_s_15_a_token_that_waits_for_its_first_code_is_judged_like_any_other() {
    let mut case = Case::one();
    if let Tokens::These(tokens) = &mut case.user.tokens {
        tokens[0].standing = Standing::AwaitsConfirmation;
    }
    assert_eq!(case.decide(&format!("password{}", case.code(0, 0))), "verify [0] password");
    assert_eq!(case.decide("password000000"), "reject code-wrong!");
    if let Tokens::These(tokens) = &mut case.user.tokens {
        tokens[0].ends = Some(NOW);
    }
    assert_eq!(case.decide("password000000"), "reject token-expired");
}
