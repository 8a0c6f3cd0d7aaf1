//! Properties of the split: whatever the password and the tokens, one attempt asks at most once, and for the right octets.

use hmac::{Hmac, KeyInit, Mac};
use proptest::collection::vec;
use proptest::prelude::*;
use sekisho::authenticate::{ClockHint, Decision, Facts, Stage, decide};
use sekisho::clock::Wall;
use sekisho::identity::{EntryId, ServiceName, TokenSerial};
use sekisho::lockout::Lockout;
use sekisho::otp::{Algorithm, Digits, Layout, Moving, Parameters, Period, Step, Window};
use sekisho::outcome::Reason;
use sekisho::policy::{Profile, Requirement};
use sekisho::secret::Secret;
use sekisho::tokens::{Account, KeptUser, Past, Role, Standing, Token, Tokens, User};

const NOW: u64 = 1_700_000_010;
const NOW_STEP: u64 = NOW / 30;

/// A token as the properties draw it.
#[derive(Clone, Debug)]
struct Drawn {
    key: Vec<u8>,
    digits: usize,
    suspended: bool,
    /// The last accepted step, relative to now.
    last: Option<i64>,
}

impl Drawn {
    /// What it shows `steps` from now, by a computation of our own (RFC 4226 §5.3, RFC 6238 §4).
    fn shown(&self, steps: i64) -> String {
        let counter = NOW_STEP.checked_add_signed(steps).unwrap();
        let mac = Hmac::<sha1::Sha1>::new_from_slice(&self.key).unwrap();
        let tag = mac.chain_update(counter.to_be_bytes()).finalize().into_bytes();
        let at = usize::from(tag[19] & 15);
        let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
        let digits = self.digits;
        format!("{:0digits$}", number % 10_u32.pow(u32::try_from(digits).unwrap()))
    }

    /// The steps of the window whose code the field ends in, newest first.
    fn matches(&self, field: &[u8]) -> Vec<i64> {
        [1, 0, -1].into_iter().filter(|steps| field.ends_with(self.shown(*steps).as_bytes())).collect()
    }

    fn token(&self, at: usize) -> Token {
        let secret = Secret::new(self.key.as_slice());
        Token {
            id: EntryId::new([u8::try_from(at).unwrap(); 16]),
            serial: TokenSerial::new(&format!("T{at}")),
            parameters: Parameters {
                algorithm: Algorithm::Sha1,
                digits: Digits::new(self.digits as u64).unwrap(),
                moving: Moving::Time { period: Period::HALF_MINUTE },
                window: Window::ONE,
            },
            imprint: Token::imprint_of(&secret),
            secret,
            spent: None,
            begins: None,
            ends: None,
            standing: if self.suspended { Standing::Suspended } else { Standing::Active },
        }
    }

    fn past(&self) -> Past {
        Past {
            last: self.last.map(|steps| Step(NOW_STEP.checked_add_signed(steps).unwrap())),
            ..Past::default()
        }
    }
}

/// What a decision came to, as values of its own.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Asks { tokens: Vec<(usize, u64)>, password: Vec<u8> },
    Rejects(Reason),
}

fn judge(tokens: &[Drawn], field: &[u8]) -> Came {
    let pasts: Vec<Past> = tokens.iter().map(Drawn::past).collect();
    let user = User {
        id: EntryId::new([99; 16]),
        name: "alice".into(),
        dn: "uid=alice".into(),
        contract: None,
        role: Role::General,
        login_code: None,
        account: Account::default(),
        tokens: Tokens::These(tokens.iter().enumerate().map(|(at, drawn)| drawn.token(at)).collect()),
    };
    let mut profile = Profile::new(ServiceName::new("test"));
    profile.layout = Layout::PasswordCode;
    let user = KeptUser::new(&user);
    let kept = user.tokens();
    let facts = Facts {
        profile: &profile,
        requirement: Requirement::Required,
        account: user.account(),
        login_code: user.login_code(),
        tokens: &kept,
        contract: sekisho::authenticate::Contracted::Asked,
        lockout: Lockout::default(),
        pasts: &pasts,
        field,
        stage: Stage::First,
        now: Wall::from_seconds(NOW),
        clock_hint: ClockHint::Skip,
    };
    match decide(&facts) {
        Decision::Verify { codes, password } => Came::Asks {
            tokens: codes.iter().map(|code| (code.token, code.step.0)).collect(),
            password: password.expect("the directory checks").to_vec(),
        },
        Decision::Reject(refusal) => Came::Rejects(refusal.reason),
        other => panic!("no such decision under this profile: {other:?}"),
    }
}

prop_compose! {
    fn token()(
        key in vec(any::<u8>(), 16..=32),
        digits in 6_usize..=8,
        suspended in prop::bool::weighted(0.15),
        last in prop::option::weighted(0.3, -3_i64..=2),
    ) -> Drawn {
        Drawn { key, digits, suspended, last }
    }
}

/// Passwords that look like codes as often as not.
fn password() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![3 => b'0'..=b'9', 1 => any::<u8>()], 0..=40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Password and code of one of the tokens: the directory is asked once, for what is left when the code is cut off.
    #[test]
    fn otp_27_what_is_left_for_the_password_is_exact(
        tokens in vec(token(), 1..=8),
        pick in any::<prop::sample::Index>(),
        steps in -1_i64..=1,
        password in password(),
    ) {
        let chosen = pick.get(&tokens);
        let field = [password.as_slice(), chosen.shown(steps).as_bytes()].concat();
        check(&tokens, &field)?;
    }

    /// Any octets at all: without a right code nobody is asked.
    #[test]
    fn otp_17_without_a_right_code_nobody_is_asked(
        tokens in vec(token(), 0..=8),
        field in password(),
    ) {
        check(&tokens, &field)?;
    }

    /// The longest code of several that match decides what the password is, and all of them are used up.
    #[test]
    fn keys_shared_by_tokens_of_different_lengths_still_ask_once(
        key in vec(any::<u8>(), 16..=32),
        lengths in vec(6_usize..=8, 1..=8),
        steps in -1_i64..=1,
        password in password(),
    ) {
        let tokens: Vec<Drawn> =
            lengths.iter().map(|&digits| Drawn { key: key.clone(), digits, suspended: false, last: None }).collect();
        let field = [password.as_slice(), tokens[0].shown(steps).as_bytes()].concat();
        check(&tokens, &field)?;
    }
}

/// What the decision about this field must be, from the definition of the split alone.
fn check(tokens: &[Drawn], field: &[u8]) -> Result<(), TestCaseError> {
    let came = judge(tokens, field);
    // A token that matches with a fresh step, and none of whose matching steps is used.
    let fresh = |drawn: &Drawn| {
        let matches = drawn.matches(field);
        let used = matches.iter().any(|steps| drawn.last.is_some_and(|last| *steps <= last));
        matches.first().copied().filter(|_| !used && !drawn.suspended)
    };
    let right: Vec<(usize, i64)> =
        tokens.iter().enumerate().filter_map(|(at, drawn)| Some((at, fresh(drawn)?))).collect();
    let longest = right.iter().map(|&(at, _)| tokens[at].digits).max();
    match (came, longest) {
        (Came::Asks { tokens: named, password }, Some(longest)) => {
            prop_assert!(!password.is_empty(), "an empty password reaches no directory");
            prop_assert_eq!(&password[..], &field[..field.len() - longest], "octet for octet");
            prop_assert_eq!(tokens[named[0].0].digits, longest, "the longest code names the token");
            let mut named = named;
            named.sort_unstable();
            let expected: Vec<(usize, u64)> =
                right.iter().map(|&(at, steps)| (at, NOW_STEP.checked_add_signed(steps).unwrap())).collect();
            prop_assert_eq!(named, expected, "every code that was right is used up");
        }
        (Came::Asks { .. }, None) => prop_assert!(false, "asked without a right code"),
        (Came::Rejects(reason), Some(longest)) => {
            prop_assert_eq!(reason, Reason::PasswordEmpty);
            prop_assert_eq!(field.len(), longest);
        }
        (Came::Rejects(reason), None) => prop_assert!(
            matches!(
                reason,
                Reason::CodeWrong
                    | Reason::CodeUsed
                    | Reason::CodeMissing
                    | Reason::NoToken
                    | Reason::TokenSuspended
            ),
            "{}",
            reason.text()
        ),
    }
    Ok(())
}
