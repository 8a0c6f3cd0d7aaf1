//! Acts on the embedded directory: each happens whole or not at all, and memory shows it at once.

use super::*;
use crate::directory::embedded::{MAX_STALE, NewUser};
use crate::directory::registry::{Confirmed, Rewrapped, confirm};
use crate::identity::ServiceName;
use crate::otp::Parameters;
use crate::state::{Bindings, Known, Scope};
use crate::tokens::{LoginCode, Setup, Standing, Tokens};
use std::time::Duration;

const KEY: &[u8] = b"12345678901234567890";

struct Office {
    folder: tempfile::TempDir,
    bindings: Arc<Bindings>,
    embedded: Arc<Embedded>,
    registry: Arc<dyn Registry>,
}

impl Office {
    /// Users `u1` of contract `C-1` and `u2` of `C-2`.
    fn open() -> Office {
        let folder = tempfile::tempdir().unwrap();
        let bindings = Arc::new(Bindings::new(Scope::Complete { max_stale: MAX_STALE }));
        let embedded = Arc::new(Embedded::open(folder.path(), Arc::clone(&bindings), 1).unwrap());
        for (name, contract) in [("u1", "C-1"), ("u2", "C-2")] {
            let user = NewUser {
                name: name.into(),
                contract: Some(ContractId::new(contract)),
                mail: Some(format!("{name}@example.jp")),
                ..NewUser::default()
            };
            embedded.add_user(user, &Secret::new(*b"password")).unwrap();
        }
        Office { folder, bindings, registry: embedded.registry(), embedded }
    }

    async fn user(&self, name: &str) -> Seen<Registered> {
        self.registry.user(&UserName::new(name.as_bytes()).unwrap(), later()).await.unwrap().unwrap()
    }

    async fn token(&self, serial: &str) -> Seen<Record> {
        self.registry.token(&TokenSerial::new(serial), later()).await.unwrap().unwrap()
    }

    async fn change(&self, change: Change) -> Result<(), NotChanged> {
        self.registry.change(change, later()).await
    }

    async fn add(&self, serial: &str, state: State) {
        self.change(Change::AddToken(Box::new(new(serial, state)))).await.unwrap();
    }

    async fn set_user(&self, name: &str, set: UserSet) -> Result<(), NotChanged> {
        let user = self.user(name).await;
        self.change(Change::User { id: user.value.user.id, version: user.version, set }).await
    }

    async fn set_token(&self, serial: &str, set: TokenSet) -> Result<(), NotChanged> {
        let token = self.token(serial).await;
        let (id, serial) = (token.value.id, token.value.serial);
        self.change(Change::Token { id, serial, version: token.version, set: Box::new(set) }).await
    }

    /// What the judgement sees of a user's tokens.
    fn standings(&self, name: &str) -> Vec<(String, Standing)> {
        let Known::One(user) = self.bindings.look_up(&UserName::new(name.as_bytes()).unwrap(), now().mono)
        else {
            panic!("{name} is not known")
        };
        let Tokens::These(tokens) = user.tokens() else { panic!("too many") };
        tokens.iter().map(|token| (token.serial.to_string(), token.standing)).collect()
    }
}

fn later() -> Mono {
    now().mono.plus(Duration::from_secs(60))
}

fn new(serial: &str, state: State) -> NewToken {
    let made = !matches!(state, State::Issued);
    NewToken {
        serial: TokenSerial::new(serial),
        state,
        since: Wall::from_seconds(1000),
        contract: Some(ContractId::new("C-1")),
        service: Some(ServiceName::new("kenshin-business")),
        parameters: Parameters::default(),
        secret: made.then(|| Secret::new(KEY)),
        spent: None,
        begins: None,
        ends: Some(Wall::from_seconds(u32::MAX.into())),
        setup: (!made).then(|| Setup {
            service_id: "S-1".into(),
            user_id: "U-1".into(),
            start_password: "$argon2id$…".into(),
            failures: 0,
            until: Wall::from_seconds(2000),
        }),
    }
}

fn refer(serial: &str) -> UserSet {
    UserSet { token: Some(Some(TokenSerial::new(serial))), ..UserSet::default() }
}

fn state(state: State) -> TokenSet {
    TokenSet { state: Some((state, Wall::from_seconds(1500))), ..TokenSet::default() }
}

#[tokio::test]
async fn s_12_s_14_s_15_a_token_goes_from_issue_over_setup_to_service() {
    let office = Office::open();
    office.add("T-1", State::Issued).await;
    office.set_user("u1", refer("T-1")).await.unwrap();
    assert_eq!(office.standings("u1"), []);
    assert_eq!(office.user("u1").await.value.token, Some(TokenSerial::new("T-1")));
    assert_eq!(office.user("u1").await.value.mail.as_deref(), Some("u1@example.jp"));

    let waiting = office.registry.token_for_setup("S-1", "U-1", later()).await.unwrap().unwrap();
    assert_eq!(waiting.value.state, State::Issued);
    assert!(office.registry.token_for_setup("S-1", "U-2", later()).await.unwrap().is_none());
    let set = TokenSet { secret: Some(Secret::new(KEY)), setup: Some(None), ..state(State::SetUp) };
    office.set_token("T-1", set).await.unwrap();
    assert_eq!(office.standings("u1"), [("T-1".to_owned(), Standing::AwaitsConfirmation)]);
    assert!(office.registry.token_for_setup("S-1", "U-1", later()).await.unwrap().is_none());

    let user = office.user("u1").await.value.user;
    for _ in 0..2 {
        let serial = TokenSerial::new("T-1");
        let done = confirm(&*office.registry, &user, &serial, Wall::from_seconds(1600), later()).await;
        assert_eq!(done, Ok(Confirmed::Yes));
        assert_eq!(office.standings("u1"), [("T-1".to_owned(), Standing::Active)]);
    }
    let token = office.token("T-1").await.value;
    assert_eq!((token.state, token.since), (State::Active, Wall::from_seconds(1600)));
    assert_eq!(token.secret, Some(Secret::new(KEY)));
    // The key itself is nowhere in the file.
    let file = std::fs::read(office.folder.path().join("directory.redb")).unwrap();
    assert!(!file.windows(KEY.len()).any(|octets| octets == KEY));
}

#[tokio::test]
async fn whoever_was_slower_gets_a_conflict_and_nothing_has_happened() {
    let office = Office::open();
    office.add("T-1", State::Inventory).await;
    office.add("T-2", State::Inventory).await;
    assert_eq!(
        office.change(Change::AddToken(Box::new(new("T-1", State::Issued)))).await,
        Err(NotChanged::Exists)
    );
    let (seen_user, seen_token) = (office.user("u1").await, office.token("T-1").await);
    office.set_user("u1", refer("T-1")).await.unwrap();
    // That somebody refers to a token is no change of the token.
    let serial = seen_token.value.serial;
    let (id, version) = (seen_token.value.id, seen_token.version);
    let set = |to| Box::new(state(to));
    office
        .change(Change::Token {
            id,
            serial: serial.clone(),
            version: version.clone(),
            set: set(State::Active),
        })
        .await
        .unwrap();
    assert_eq!(
        office.change(Change::Token { id, serial, version, set: set(State::Revoked) }).await,
        Err(NotChanged::Conflict)
    );
    let id = seen_user.value.user.id;
    assert_eq!(
        office.change(Change::User { id, version: seen_user.version, set: refer("T-2") }).await,
        Err(NotChanged::Conflict)
    );
    assert_eq!(office.standings("u1"), [("T-1".to_owned(), Standing::Active)]);
    assert!(matches!(office.set_user("u1", refer("T-9")).await, Err(NotChanged::Refused(_))));
}

#[tokio::test]
async fn s_13_a_token_of_another_contract_becomes_the_users_own_with_a_correct_code() {
    let office = Office::open();
    office.add("T-1", State::Active).await;
    office.set_user("u1", refer("T-1")).await.unwrap();
    let (first, second) = (office.user("u1").await.value.user.id, office.user("u2").await.value.user);
    let owners = TokenSet { owners: Some(vec![first, second.id]), ..TokenSet::default() };
    office.set_token("T-1", owners).await.unwrap();
    let pending = UserSet { pending: Some(Some(TokenSerial::new("T-1"))), ..UserSet::default() };
    office.set_user("u2", pending).await.unwrap();
    assert_eq!(office.standings("u2"), [("T-1".to_owned(), Standing::AwaitsConfirmation)]);
    let serial = TokenSerial::new("T-1");
    let done = confirm(&*office.registry, &second, &serial, Wall::from_seconds(1), later()).await;
    assert_eq!(done, Ok(Confirmed::Yes));
    for name in ["u1", "u2"] {
        assert_eq!(office.standings(name), [("T-1".to_owned(), Standing::Active)]);
    }
    assert_eq!(office.token("T-1").await.value.owners.len(), 2);
    // What is suspended is suspended for both at once.
    office.set_token("T-1", state(State::Suspended)).await.unwrap();
    for name in ["u1", "u2"] {
        assert_eq!(office.standings(name), [("T-1".to_owned(), Standing::Suspended)]);
    }
    let done = confirm(&*office.registry, &second, &serial, Wall::from_seconds(1), later()).await;
    assert_eq!(done, Ok(Confirmed::NotAwaited));
}

#[tokio::test]
async fn s_21_an_exchange_is_one_change_of_the_user() {
    let office = Office::open();
    office.add("OLD", State::Active).await;
    office.add("NEW", State::Active).await;
    office.set_user("u1", refer("OLD")).await.unwrap();
    let set = UserSet { former: Some(Some(TokenSerial::new("OLD"))), ..refer("NEW") };
    office.set_user("u1", set).await.unwrap();
    assert_eq!(office.standings("u1"), [("NEW".to_owned(), Standing::Active)]);
    let undo = UserSet { former: Some(None), ..refer("OLD") };
    office.set_user("u1", undo).await.unwrap();
    assert_eq!(office.standings("u1"), [("OLD".to_owned(), Standing::Active)]);
    // A token that is referred to does not go; one that is not does.
    let gone = |token: Seen<Record>| Change::RemoveToken { id: token.value.id, version: token.version };
    assert!(matches!(office.change(gone(office.token("OLD").await)).await, Err(NotChanged::Refused(_))));
    office.change(gone(office.token("NEW").await)).await.unwrap();
    assert!(office.registry.token(&TokenSerial::new("NEW"), later()).await.unwrap().is_none());
}

#[tokio::test]
async fn s_11_contracts_are_enabled_and_ended() {
    let office = Office::open();
    let id = ContractId::new("C-1");
    let contract = Contract {
        id: id.clone(),
        service: ServiceName::new("kenshin-business"),
        since: Wall::from_seconds(7),
    };
    office.change(Change::AddContract(contract.clone())).await.unwrap();
    assert_eq!(office.change(Change::AddContract(contract.clone())).await, Err(NotChanged::Exists));
    assert_eq!(office.registry.contracts(later()).await.unwrap(), [contract]);
    let seen = office.registry.contract(&id, later()).await.unwrap().unwrap();
    let end = |version: &Version| Change::RemoveContract { id: id.clone(), version: version.clone() };
    office.change(end(&seen.version)).await.unwrap();
    assert_eq!(office.change(end(&seen.version)).await, Err(NotChanged::Conflict));
    assert!(office.registry.contract(&id, later()).await.unwrap().is_none());
}

#[tokio::test]
async fn lists_come_in_pages() {
    let office = Office::open();
    for serial in ["T-3", "T-1", "T-2"] {
        office.add(serial, State::Inventory).await;
    }
    office.add("T-4", State::Active).await;
    let page = office.registry.tokens(Some(State::Inventory), Some("T-1"), 1, later()).await.unwrap();
    assert_eq!(page.iter().map(|token| token.serial.as_str()).collect::<Vec<_>>(), ["T-2"]);
    assert_eq!(office.registry.tokens(None, None, 10, later()).await.unwrap().len(), 4);
    let names = |users: Vec<Registered>| -> Vec<String> {
        users.into_iter().map(|user| user.user.name.to_string()).collect()
    };
    assert_eq!(names(office.registry.users(None, None, 10, later()).await.unwrap()), ["u1", "u2"]);
    assert_eq!(names(office.registry.users(None, Some("u1"), 10, later()).await.unwrap()), ["u2"]);
    let contract = ContractId::new("c-2");
    assert_eq!(names(office.registry.users(Some(&contract), None, 10, later()).await.unwrap()), ["u2"]);
    let choice = UserSet { login_code: Some(LoginCode::NotRequired), ..UserSet::default() };
    office.set_user("u1", choice).await.unwrap();
    assert_eq!(office.user("u1").await.value.user.login_code, Some(LoginCode::NotRequired));
}

#[tokio::test]
async fn keys_rotate_and_every_token_is_sealed_anew() {
    let office = Office::open();
    for number in 0..105 {
        office.add(&format!("T-{number:03}"), State::Active).await;
    }
    office.add("W", State::Issued).await;
    office.set_user("u1", refer("T-000")).await.unwrap();
    let rewrap = async || office.registry.rewrap(&|_: &Rewrapped| {}).await.unwrap();
    assert_eq!(rewrap().await, Rewrapped { looked_at: 105, ..Rewrapped::default() });
    crate::directory::seal::rotate(&office.folder.path().join("seal.key"), "2027").unwrap();
    office.embedded.reload_keys().unwrap();
    assert_eq!(rewrap().await, Rewrapped { looked_at: 105, resealed: 105, ..Rewrapped::default() });
    assert_eq!(rewrap().await.resealed, 0);
    assert_eq!(office.standings("u1"), [("T-000".to_owned(), Standing::Active)]);
    assert_eq!(office.token("T-104").await.value.secret, Some(Secret::new(KEY)));
}

#[test]
fn records_of_the_first_form_are_still_read() {
    let first =
        br#"{"user":"1b4e28ba-2fa1-11d2-883f-0016d3cca427","serial":"T-1","secret":"x","algorithm":"sha1",
        "digits":8,"moving":{"period":60},"window":[1,1],"begins":null,"ends":null,"suspended":true}"#;
    let token = TokenRecord::parse(first).ok().unwrap();
    assert_eq!(token.owners, [EntryId::parse("1b4e28ba-2fa1-11d2-883f-0016d3cca427").unwrap()]);
    assert!(token.state().is_ok_and(|state| state == State::Suspended));
    let again = TokenRecord::parse(&token.text().ok().unwrap()).ok().unwrap();
    assert_eq!(again.owners, token.owners);
    let user = br#"{"id":"1b4e28ba-2fa1-11d2-883f-0016d3cca427","name":"a","other-names":[],"password":"p",
        "disabled":false,"contract":null,"role":null,"login-code":null,"tokens":[]}"#;
    assert!(UserRecord::parse(user).is_ok());
}
