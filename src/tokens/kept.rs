//! Users by the million: each in one piece, read where it lies, without an allocation.
//!
//! ```text
//! kept      DN text (without the end that others have as well) · name · contract · account · tokens
//! text      a run; it and every number as `compact` writes them
//! name      0: the value that the DN begins with · n: a text of n - 1 octets follows
//! contract  0: none · n: a text of n - 1 octets follows
//! account   octet (standing, which dates follow) · its dates
//! tokens    0: too many, their count follows · n: n - 1 tokens follow
//! token     id · serial text · key text · imprint · parameters · standing · octet (what follows) · spent · begins · ends
//! date      seconds · nanoseconds
//! ```
//!
//! It never leaves the process, so it has no version.

use super::{Account, AccountStanding, Defect, LoginCode, Role, Standing, TOKENS_MAX, Token, Tokens, User};
use crate::clock::Wall;
use crate::compact::{Reader, put_number, put_run};
use crate::identity::{ContractId, EntryId, TokenSerial};
use crate::otp::{Parameters, Step};
use crate::secret::{Secret, SecretSlice};
use arrayvec::ArrayVec;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// A user in one piece: the octets stand behind the fields, and wipe themselves.
pub struct Kept<T: ?Sized> {
    id: EntryId,
    role: Role,
    login_code: Option<LoginCode>,
    /// Whether some token waits for its first code.
    awaits: bool,
    /// How many tokens there are; none where there are too many.
    count: u8,
    /// What the DN ends with.
    dn_end: Option<DnEnd>,
    octets: T,
}

/// What many DNs end with. In a pointer of one word.
type DnEnd = Arc<Box<str>>;

/// What DNs end with, from the container on: kept once for everybody in it.
#[derive(Default)]
pub struct DnEnds(HashMap<Box<str>, DnEnd>);

impl DnEnds {
    /// So many containers; whoever is in another one keeps the whole DN.
    const MOST: usize = 4096;

    /// What stands before the end of a DN, and the end.
    fn apart<'d>(&mut self, dn: &'d str) -> (&'d str, Option<DnEnd>) {
        // A comma behind a backslash belongs to the value (RFC 4514 §2.4).
        let container = dn
            .match_indices(',')
            .map(|(at, _)| at)
            .find(|at| !dn.get(..*at).is_some_and(|before| before.ends_with('\\')));
        let Some((head, end)) = container.and_then(|at| dn.split_at_checked(at)) else { return (dn, None) };
        if let Some(known) = self.0.get(end) {
            return (head, Some(Arc::clone(known)));
        }
        if self.0.len() >= DnEnds::MOST {
            return (dn, None);
        }
        let new = Arc::new(Box::from(end));
        self.0.insert(end.into(), Arc::clone(&new));
        (head, Some(new))
    }
}

/// A user as the bindings keep them.
pub type KeptUser = Kept<dyn AsRef<[u8]> + Send + Sync>;

/// A token of a [`KeptUser`].
pub type KeptToken<'a> = Token<&'a str, SecretSlice<'a>>;

/// The tokens of a [`KeptUser`].
pub type KeptTokens<'a> = Tokens<ArrayVec<KeptToken<'a>, TOKENS_MAX>>;

impl KeptUser {
    /// Keeps a user by themselves.
    pub fn new(user: &User) -> Arc<KeptUser> {
        KeptUser::among(user, &mut DnEnds::default())
    }

    /// Keeps a user among others, of whose DNs these are the ends.
    pub fn among(user: &User, ends: &mut DnEnds) -> Arc<KeptUser> {
        let mut octets = Zeroizing::new(Vec::with_capacity(room(user)));
        let (head, dn_end) = ends.apart(&user.dn);
        write(user, head, &mut octets);
        let awaits =
            |tokens: &Vec<Token>| tokens.iter().any(|token| token.standing == Standing::AwaitsConfirmation);
        let fields = Kept {
            id: user.id,
            role: user.role,
            login_code: user.login_code,
            awaits: matches!(&user.tokens, Tokens::These(tokens) if awaits(tokens)),
            count: u8::try_from(user.tokens.all().len()).unwrap_or(u8::MAX),
            dn_end,
            octets: (),
        };
        fields.with(&octets)
    }

    /// The identity of the entry: the key of everything remembered about the user.
    pub fn id(&self) -> EntryId {
        self.id
    }

    /// What the user may do for others of the same contract.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The user's own choice whether login asks for a code (S-08); `None` if never chosen.
    pub fn login_code(&self) -> Option<LoginCode> {
        self.login_code
    }

    /// Whether some token waits for its first code (S-15).
    pub fn awaits_confirmation(&self) -> bool {
        self.awaits
    }

    /// The DN to bind as (for the embedded directory: the name).
    pub fn dn(&self) -> String {
        let end = self.dn_end.as_ref().map_or("", |end| &***end);
        [self.read().text(), end].concat()
    }

    /// The name that the entry itself carries, for people.
    pub fn name(&self) -> &str {
        let mut read = self.read();
        let dn = read.0.run();
        read.optional_text().or_else(|| std::str::from_utf8(first_value(dn)?).ok()).unwrap_or_default()
    }

    /// The contract the user belongs to, if the directory says so.
    pub fn contract(&self) -> Option<&str> {
        let mut read = self.read();
        read.0.run();
        read.skip_optional_text();
        read.optional_text()
    }

    /// What the directory says about the account.
    pub fn account(&self) -> Account {
        self.behind_texts().account()
    }

    /// The user's tokens, usable or not.
    pub fn tokens(&self) -> KeptTokens<'_> {
        let mut read = self.behind_texts();
        read.account();
        match read.0.number().checked_sub(1) {
            None => Tokens::TooMany(usize::try_from(read.0.number()).unwrap_or(usize::MAX)),
            Some(count) => Tokens::These((0..count).map_while(|_| read.token()).take(TOKENS_MAX).collect()),
        }
    }

    /// How many tokens there are; none where there are too many.
    pub fn token_count(&self) -> usize {
        usize::from(self.count)
    }

    /// The token at this place in [`KeptUser::tokens`].
    pub fn token(&self, at: usize) -> Option<KeptToken<'_>> {
        let mut read = self.behind_texts();
        read.account();
        read.0.number().checked_sub(1)?;
        (0..self.token_count().min(TOKENS_MAX)).map_while(|_| read.token()).nth(at)
    }

    /// The same user with fields of their own.
    pub fn whole(&self) -> User {
        User {
            id: self.id,
            name: self.name().into(),
            dn: self.dn().into(),
            contract: self.contract().map(ContractId::new),
            role: self.role,
            login_code: self.login_code,
            account: self.account(),
            tokens: match self.tokens() {
                Tokens::These(tokens) => {
                    Tokens::These(tokens.into_iter().map(|token| token.whole()).collect())
                }
                Tokens::TooMany(count) => Tokens::TooMany(count),
            },
        }
    }

    fn behind_texts(&self) -> Read<'_> {
        let mut read = self.read();
        read.0.run();
        read.skip_optional_text();
        read.skip_optional_text();
        read
    }

    fn read(&self) -> Read<'_> {
        Read(Reader::new(self.octets.as_ref()))
    }
}

/// Without the keys.
impl fmt::Debug for KeptUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.whole(), f)
    }
}

impl KeptToken<'_> {
    /// The same token with fields of its own.
    pub fn whole(&self) -> Token {
        Token {
            id: self.id,
            serial: TokenSerial::new(self.serial),
            parameters: self.parameters,
            secret: self.secret.duplicate(),
            imprint: self.imprint,
            spent: self.spent,
            begins: self.begins,
            ends: self.ends,
            standing: self.standing,
        }
    }
}

impl Kept<()> {
    /// One allocation as long as there is a size for it, which nearly everybody has; else the octets stand apart.
    fn with(self, octets: &[u8]) -> Arc<KeptUser> {
        macro_rules! sized {
            ($($size:literal)*) => {
                match octets.len() {
                    $(0..=$size => self.sized::<$size>(octets),)*
                    _ => self.holding(Apart(Secret::new(octets))),
                }
            };
        }
        // With what stands before them, multiples of 16: what the allocator gives anyway.
        sized!(44 60 76 92 108 124 140 156 172 188 204 220 236 268 300 332 364 428 492 620 748 1004 1516)
    }

    fn sized<const SIZE: usize>(self, octets: &[u8]) -> Arc<KeptUser> {
        let mut kept = self.holding(Within(Zeroizing::new([0; SIZE])));
        // Written where they stay: what is moved leaves a copy behind.
        if let Some(room) = Arc::get_mut(&mut kept).and_then(|kept| kept.octets.0.get_mut(..octets.len())) {
            room.copy_from_slice(octets);
        }
        kept
    }

    fn holding<T>(self, octets: T) -> Arc<Kept<T>> {
        let Kept { id, role, login_code, awaits, count, dn_end, octets: () } = self;
        Arc::new(Kept { id, role, login_code, awaits, count, dn_end, octets })
    }
}

struct Within<const SIZE: usize>(Zeroizing<[u8; SIZE]>);

impl<const SIZE: usize> AsRef<[u8]> for Within<SIZE> {
    fn as_ref(&self) -> &[u8] {
        &*self.0
    }
}

struct Apart(Secret);

impl AsRef<[u8]> for Apart {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

/// Room that a user takes at most, so that the buffer does not move and leave keys behind.
fn room(user: &User) -> usize {
    const NUMBERS: usize = 64;
    const TOKEN: usize = 160;
    let tokens = match &user.tokens {
        Tokens::These(tokens) => {
            tokens.iter().map(|token| TOKEN + token.serial.as_str().len() + token.secret.len()).sum()
        }
        Tokens::TooMany(_) => 0,
    };
    let contract = user.contract.as_ref().map_or(0, |contract| contract.as_str().len());
    NUMBERS + 2 * 32 + user.dn.len() + user.name.len() + contract + tokens
}

fn write(user: &User, dn: &str, out: &mut Vec<u8>) {
    put_run(out, dn.as_bytes());
    if first_value(dn.as_bytes()) == Some(user.name.as_bytes()) {
        put_number(out, 0);
    } else {
        optional_text(out, Some(&user.name));
    }
    optional_text(out, user.contract.as_ref().map(ContractId::as_str));
    account(out, &user.account);
    match &user.tokens {
        Tokens::TooMany(count) => {
            put_number(out, 0);
            put_number(out, u64::try_from(*count).unwrap_or(u64::MAX));
        }
        Tokens::These(tokens) => {
            put_number(out, u64::try_from(tokens.len()).unwrap_or(0) + 1);
            for one in tokens {
                token(out, one);
            }
        }
    }
}

/// The value that a DN begins with, if it stands there as it is.
fn first_value(dn: &[u8]) -> Option<&[u8]> {
    let equals = dn.iter().position(|octet| *octet == b'=')?;
    dn.get(equals + 1..)?.split(|octet| *octet == b',').next()
}

const LOCKED_UNTIL: u8 = 3;
const FIRST_DATE: u8 = 4;
const SECOND_DATE: u8 = 8;
const SPENT: u8 = 1;

fn account(out: &mut Vec<u8>, account: &Account) {
    let (standing, until) = match account.standing {
        AccountStanding::Enabled => (0, None),
        AccountStanding::Disabled => (1, None),
        AccountStanding::Locked(None) => (2, None),
        AccountStanding::Locked(until) => (LOCKED_UNTIL, until),
    };
    out.push(standing | which_dates(account.begins, account.ends));
    for at in [until, account.begins, account.ends].into_iter().flatten() {
        date(out, at);
    }
}

fn token(out: &mut Vec<u8>, token: &Token) {
    out.extend_from_slice(&token.id.octets());
    put_run(out, token.serial.as_str().as_bytes());
    put_run(out, token.secret.expose());
    out.extend_from_slice(&token.imprint.to_le_bytes());
    out.extend_from_slice(&token.parameters.octets());
    out.push(match token.standing {
        Standing::Active => 0,
        Standing::AwaitsConfirmation => 1,
        Standing::Suspended => 2,
        Standing::Revoked => 3,
        Standing::Unusable(defect) => {
            let at = Defect::ALL.iter().position(|other| *other == defect);
            at.and_then(|at| u8::try_from(at).ok()).unwrap_or(0) + UNUSABLE
        }
    });
    let spent = if token.spent.is_some() { SPENT } else { 0 };
    out.push(spent | which_dates(token.begins, token.ends));
    if let Some(Step(step)) = token.spent {
        put_number(out, step);
    }
    for at in [token.begins, token.ends].into_iter().flatten() {
        date(out, at);
    }
}

/// The standings below it have no defect.
const UNUSABLE: u8 = 4;

fn which_dates(first: Option<Wall>, second: Option<Wall>) -> u8 {
    let flag = |date: Option<Wall>, flag| if date.is_some() { flag } else { 0 };
    flag(first, FIRST_DATE) | flag(second, SECOND_DATE)
}

fn date(out: &mut Vec<u8>, at: Wall) {
    put_number(out, at.seconds());
    put_number(out, u64::from(at.subsec_nanos()));
}

fn optional_text(out: &mut Vec<u8>, octets: Option<&str>) {
    match octets {
        None => put_number(out, 0),
        Some(octets) => {
            put_number(out, u64::try_from(octets.len()).unwrap_or(0) + 1);
            out.extend_from_slice(octets.as_bytes());
        }
    }
}

/// What is left to read. It was written here, so what cannot be read does not occur; it reads as nothing.
struct Read<'a>(Reader<'a>);

impl<'a> Read<'a> {
    fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.0.run()).unwrap_or_default()
    }

    fn optional_text(&mut self) -> Option<&'a str> {
        let length = self.0.number().checked_sub(1)?;
        Some(std::str::from_utf8(self.0.octets(length)).unwrap_or_default())
    }

    fn skip_optional_text(&mut self) {
        let length = self.0.number().saturating_sub(1);
        self.0.octets(length);
    }

    fn account(&mut self) -> Account {
        let octet = self.0.octet();
        let until = self.date(octet & 3 == LOCKED_UNTIL);
        Account {
            standing: match octet & 3 {
                0 => AccountStanding::Enabled,
                1 => AccountStanding::Disabled,
                _ => AccountStanding::Locked(until),
            },
            begins: self.date(octet & FIRST_DATE != 0),
            ends: self.date(octet & SECOND_DATE != 0),
        }
    }

    fn date(&mut self, is_there: bool) -> Option<Wall> {
        is_there.then(|| Wall::from_seconds(self.0.number()).plus(Duration::from_nanos(self.0.number())))
    }

    fn token(&mut self) -> Option<KeptToken<'a>> {
        let id = EntryId::new(self.0.array()?);
        let serial = self.text();
        let secret = SecretSlice::new(self.0.run());
        let imprint = u32::from_le_bytes(self.0.array()?);
        let parameters = Parameters::read(self.0.array()?)?;
        let standing = match self.0.octet() {
            0 => Standing::Active,
            1 => Standing::AwaitsConfirmation,
            2 => Standing::Suspended,
            3 => Standing::Revoked,
            defect => Standing::Unusable(*Defect::ALL.get(usize::from(defect - UNUSABLE))?),
        };
        let octet = self.0.octet();
        let spent = (octet & SPENT != 0).then(|| Step(self.0.number()));
        let begins = self.date(octet & FIRST_DATE != 0);
        let ends = self.date(octet & SECOND_DATE != 0);
        Some(Token { id, serial, parameters, secret, imprint, spent, begins, ends, standing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otp::{Algorithm, Digits, LookAhead, Moving, Period, Window};
    use proptest::prelude::*;

    fn walls() -> impl Strategy<Value = Option<Wall>> {
        prop::option::of((any::<u64>(), 0..1_000_000_000_u64)).prop_map(|at| {
            at.map(|(seconds, nanos)| Wall::from_seconds(seconds / 2).plus(Duration::from_nanos(nanos)))
        })
    }

    fn accounts() -> impl Strategy<Value = Account> {
        (0..4_u8, walls(), walls(), walls()).prop_map(|(standing, until, begins, ends)| Account {
            standing: match standing {
                0 => AccountStanding::Enabled,
                1 => AccountStanding::Disabled,
                _ => AccountStanding::Locked(until),
            },
            begins,
            ends,
        })
    }

    fn parameters() -> impl Strategy<Value = Parameters> {
        let moving = prop_oneof![
            (15..=120_u64)
                .prop_map(|seconds| Moving::Time { period: Period::from_seconds(seconds).unwrap() }),
            (0..=10_u64).prop_map(|codes| Moving::Counter { look_ahead: LookAhead::new(codes).unwrap() }),
        ];
        let algorithm = prop::sample::select(vec![Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512]);
        (algorithm, 6..=8_u64, moving, 0..=10_u64, 0..=10_u64).prop_map(
            |(algorithm, digits, moving, back, forward)| {
                let (digits, window) = (Digits::new(digits).unwrap(), Window::new(back, forward).unwrap());
                Parameters { algorithm, digits, moving, window }
            },
        )
    }

    fn standings() -> impl Strategy<Value = Standing> {
        let defects = prop::sample::select(Defect::ALL.to_vec()).prop_map(Standing::Unusable);
        let others = [Standing::Active, Standing::AwaitsConfirmation, Standing::Suspended, Standing::Revoked];
        prop_oneof![prop::sample::select(others.to_vec()), defects]
    }

    fn tokens() -> impl Strategy<Value = Token> {
        let key = prop::collection::vec(any::<u8>(), 0..=128);
        let dates = (prop::option::of(any::<u64>()), walls(), walls());
        (any::<[u8; 16]>(), ".{0,60}", parameters(), key, any::<u32>(), dates, standings()).prop_map(
            |(id, serial, parameters, key, imprint, (spent, begins, ends), standing)| Token {
                id: EntryId::new(id),
                serial: TokenSerial::new(&serial),
                parameters,
                secret: Secret::new(key),
                imprint,
                spent: spent.map(Step),
                begins,
                ends,
                standing,
            },
        )
    }

    fn users() -> impl Strategy<Value = User> {
        let name = prop_oneof![Just(None), ".{0,40}".prop_map(Some)];
        let held = prop_oneof![
            9 => prop::collection::vec(tokens(), 0..=TOKENS_MAX).prop_map(Tokens::These),
            1 => any::<usize>().prop_map(Tokens::TooMany),
        ];
        let chosen = [None, Some(LoginCode::Required), Some(LoginCode::NotRequired)];
        let roles = prop::sample::select(vec![Role::Master, Role::Admin, Role::General]);
        let fields = (any::<[u8; 16]>(), ".{0,300}", name, prop::option::of(".{0,20}"), roles);
        (fields, prop::sample::select(chosen.to_vec()), accounts(), held).prop_map(
            |((id, dn, name, contract, role), login_code, account, tokens)| {
                let dn = if name.is_none() { format!("uid=u1,{dn}") } else { dn };
                User {
                    id: EntryId::new(id),
                    name: name.unwrap_or_else(|| "u1".into()).into(),
                    dn: dn.into(),
                    contract: contract.as_deref().map(ContractId::new),
                    role,
                    login_code,
                    account,
                    tokens,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_kept_is_read_as_it_was(user in users()) {
            let kept = KeptUser::new(&user);
            let tokens = kept.tokens();
            prop_assert_eq!(kept.token_count(), tokens.all().len());
            for at in 0..=TOKENS_MAX {
                prop_assert_eq!(kept.token(at).map(|token| token.whole()), tokens.all().get(at).map(KeptToken::whole));
            }
            prop_assert_eq!(kept.whole(), user);
        }
    }

    #[test]
    fn the_end_of_a_dn_is_kept_once_and_a_comma_within_a_value_ends_nothing() {
        let mut ends = DnEnds::default();
        let (one, first) = ends.apart("uid=a,ou=people,dc=x");
        let (two, second) = ends.apart(r"cn=b\, c,ou=people,dc=x");
        assert_eq!((one, two), ("uid=a", r"cn=b\, c"));
        assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
        assert_eq!(ends.apart("alice").0, "alice");
        for container in 0..DnEnds::MOST {
            ends.apart(&format!("uid=a,ou={container}"));
        }
        assert_eq!(ends.apart("uid=a,ou=other"), ("uid=a,ou=other", None));
        assert_eq!((ends.0.len(), ends.apart("uid=b,ou=people,dc=x").0), (DnEnds::MOST, "uid=b"));
    }

    #[test]
    fn nearly_everybody_is_one_allocation_of_less_than_200_octets() {
        let token = Token {
            id: EntryId::new([2; 16]),
            serial: TokenSerial::new("T00012345"),
            parameters: Parameters::default(),
            secret: Secret::new([7; 20]),
            imprint: 5,
            spent: None,
            begins: None,
            ends: None,
            standing: Standing::Active,
        };
        let user = User {
            id: EntryId::new([1; 16]),
            name: "user00012345".into(),
            dn: "uid=user00012345,ou=people,dc=example,dc=jp".into(),
            contract: Some(ContractId::new("C-1234")),
            role: Role::General,
            login_code: None,
            account: Account::default(),
            tokens: Tokens::These(vec![token]),
        };
        let kept = KeptUser::new(&user);
        // The two counts of an `Arc` stand before it, and the allocator gives multiples of 16 but for its own 8.
        assert_eq!((size_of_val(&*kept) + 16) % 16, 8);
        assert!(size_of_val(&*kept) < 150, "{}", size_of_val(&*kept));
    }
}
