//! The embedded directory over its whole life: filled, asked, changed, reopened, damaged.

use super::*;
use crate::otp::{Algorithm, Digits, Moving, Period, Window};
use crate::state::{Known, Scope};
use crate::tokens::{Defect, Standing, Token};
use std::os::unix::fs::PermissionsExt;

const KEY: &[u8] = b"12345678901234567890";
const COMPLETE: Scope = Scope::Complete { max_stale: MAX_STALE };

struct Site {
    folder: tempfile::TempDir,
    bindings: Arc<Bindings>,
    directory: Embedded,
}

impl Site {
    fn new() -> Site {
        Site::within(tempfile::tempdir().unwrap())
    }

    fn within(folder: tempfile::TempDir) -> Site {
        let bindings = Arc::new(Bindings::new(COMPLETE));
        let directory = Embedded::open(folder.path(), Arc::clone(&bindings), 2).unwrap();
        Site { folder, bindings, directory }
    }

    fn reopened(self) -> Site {
        drop(self.directory);
        Site::within(self.folder)
    }

    fn with_alice(self) -> Site {
        let alice = NewUser {
            name: "Alice Smith".into(),
            other_names: vec!["alice@example.jp".into()],
            contract: Some(ContractId::new("C-1")),
            role: Role::Admin,
            login_code: Some(LoginCode::NotRequired),
            mail: Some("alice@example.jp".into()),
        };
        self.directory.add_user(alice, &secret("right")).unwrap();
        self
    }

    /// What the pipeline sees.
    fn known(&self, name: &str) -> Option<Arc<User>> {
        match self.bindings.look_up(&UserName::new(name.as_bytes()).unwrap(), now().mono) {
            Known::One(user) => Some(Arc::new(user.whole())),
            Known::Nobody => None,
            other => panic!("{other:?}"),
        }
    }

    async fn answer(&self, user: &User, password: &str) -> PasswordAnswer {
        let deadline = now().mono.plus(Duration::from_secs(600));
        self.directory.check_password(&KeptUser::new(user), secret(password), deadline).await.unwrap()
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes())
}

fn token(serial: &str) -> NewToken {
    NewToken {
        serial: serial.into(),
        secret: Secret::new(KEY),
        parameters: Parameters::default(),
        begins: None,
        ends: None,
    }
}

fn tokens(user: &User) -> &[Token] {
    match &user.tokens {
        Tokens::These(tokens) => tokens,
        Tokens::TooMany(_) => panic!("too many"),
    }
}

#[tokio::test]
async fn a_user_is_found_under_every_name_and_asked_for_the_password() {
    let site = Site::new().with_alice();
    let alice = site.known(" alice  SMITH ").unwrap();
    assert_eq!((&*alice.name, alice.role), ("Alice Smith", Role::Admin));
    assert_eq!(alice.login_code, Some(LoginCode::NotRequired));
    assert_eq!(alice.contract, Some(ContractId::new("C-1")));
    assert_eq!(site.known("ALICE@example.jp").unwrap().id, alice.id);
    assert!(site.known("bob").is_none());

    let far = now().mono.plus(Duration::from_secs(600));
    for (name, found) in [("alice smith", true), ("bob", false)] {
        let answer = site.directory.find(&UserName::new(name.as_bytes()).unwrap(), far).await.unwrap();
        assert_eq!(matches!(answer, Found::One(user) if user.id() == alice.id), found, "{name}");
    }
    let no_text = UserName::new(b"\xff").unwrap();
    assert!(matches!(site.directory.find(&no_text, far).await, Ok(Found::Nobody)));

    assert_eq!(site.answer(&alice, "right").await, PasswordAnswer::Right);
    assert_eq!(site.answer(&alice, "Right").await, PasswordAnswer::Wrong);
    assert_eq!(site.answer(&alice, "").await, PasswordAnswer::Wrong);
    assert!(site.directory.servers().iter().all(|server| server.up));
}

#[tokio::test]
async fn changes_are_seen_at_once_and_survive_a_restart() {
    let site = Site::new().with_alice();
    site.directory.add_token("alice smith", token("T-1")).unwrap();
    site.directory.set_password("alice smith", &secret("new")).unwrap();
    let other = NewToken {
        parameters: Parameters {
            algorithm: Algorithm::Sha256,
            digits: Digits::SIX,
            moving: Moving::Time { period: Period::HALF_MINUTE },
            window: Window::new(2, 0).unwrap(),
        },
        ends: Some(Wall::from_seconds(99)),
        ..token("T-2")
    };
    let expected = other.parameters;
    site.directory.add_token("ALICE@example.jp", other).unwrap();

    let site = site.reopened();
    let alice = site.known("alice smith").unwrap();
    let [first, second] = tokens(&alice) else { panic!("{alice:?}") };
    assert_eq!(
        (first.serial.as_str(), first.secret.expose(), first.standing),
        ("T-1", KEY, Standing::Active)
    );
    assert_eq!(first.parameters, Parameters::default());
    assert_eq!((second.parameters, second.ends), (expected, Some(Wall::from_seconds(99))));
    assert_eq!(site.answer(&alice, "new").await, PasswordAnswer::Right);
    assert_eq!(site.answer(&alice, "right").await, PasswordAnswer::Wrong);
    assert_eq!(site.directory.list().unwrap().len(), 1);

    site.directory.switch_token("T-1", Switch::Off).unwrap();
    assert_eq!(tokens(&site.known("alice smith").unwrap())[0].standing, Standing::Suspended);
    site.directory.switch_token("T-1", Switch::On).unwrap();
    assert_eq!(tokens(&site.known("alice smith").unwrap())[0].standing, Standing::Active);
    site.directory.remove_token("T-1").unwrap();
    assert_eq!(tokens(&site.known("alice smith").unwrap()).len(), 1);

    site.directory.remove_user("alice smith").unwrap();
    assert!(site.known("alice smith").is_none() && site.known("alice@example.jp").is_none());
    assert_eq!(site.answer(&alice, "new").await, PasswordAnswer::Wrong);
    // Nothing of hers stands in the way of somebody new.
    let site = site.with_alice();
    site.directory.add_token("alice smith", token("T-2")).unwrap();
    assert_ne!(site.known("alice smith").unwrap().id, alice.id);
}

#[tokio::test]
async fn a_disabled_account_is_told_only_to_whoever_knows_the_password() {
    let site = Site::new().with_alice();
    site.directory.switch_user("alice smith", Switch::Off).unwrap();
    let alice = site.known("alice smith").unwrap();
    assert_eq!(alice.account.standing, AccountStanding::Disabled);
    assert_eq!(site.answer(&alice, "right").await, PasswordAnswer::Disabled);
    assert_eq!(site.answer(&alice, "wrong").await, PasswordAnswer::Wrong);
    site.directory.switch_user("alice smith", Switch::On).unwrap();
    assert_eq!(site.answer(&alice, "right").await, PasswordAnswer::Right);
}

#[tokio::test]
async fn nobody_waits_beyond_the_deadline() {
    let site = Site::new().with_alice();
    let alice = site.known("alice smith").unwrap();
    let answer =
        site.directory.check_password(&KeptUser::new(&alice), secret("right"), Mono::from_nanos(0)).await;
    assert_eq!(answer, Err(Unavailable::TooLate));
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let site = Site::new().with_alice();
    let directory = &site.directory;
    let named = |name: &str| NewUser { name: name.into(), ..NewUser::default() };
    let add = |name: &str, password: &str| directory.add_user(named(name), &secret(password));
    for name in ["", "  ", "a\nb", &"x".repeat(254)] {
        assert!(matches!(add(name, "x"), Err(EmbeddedProblem::Name)), "{name:?}");
    }
    for password in ["", &"x".repeat(129)] {
        assert!(matches!(add("bob", password), Err(EmbeddedProblem::Password)));
    }
    assert!(matches!(add("ALICE@EXAMPLE.JP", "x"), Err(EmbeddedProblem::NameTaken)));
    let half_taken = NewUser { other_names: vec!["alice smith".into()], ..named("bob") };
    assert!(matches!(directory.add_user(half_taken, &secret("x")), Err(EmbeddedProblem::NameTaken)));
    assert!(site.known("bob").is_none());
    add("bob", "x").unwrap();

    assert!(matches!(directory.add_token("carol", token("T")), Err(EmbeddedProblem::UserUnknown)));
    assert!(matches!(directory.remove_user("carol"), Err(EmbeddedProblem::UserUnknown)));
    assert!(matches!(directory.remove_token("T"), Err(EmbeddedProblem::TokenUnknown)));
    let short = NewToken { secret: Secret::new(*b"short"), ..token("T") };
    assert!(matches!(directory.add_token("bob", short), Err(EmbeddedProblem::Token(_))));
    assert!(matches!(directory.add_token("bob", token(" ")), Err(EmbeddedProblem::Name)));
    directory.add_token("alice smith", token("T-0")).unwrap();
    assert!(matches!(directory.add_token("bob", token("T-0")), Err(EmbeddedProblem::SerialTaken)));
    for number in 1..TOKENS_MAX {
        directory.add_token("alice smith", token(&format!("T-{number}"))).unwrap();
    }
    assert!(matches!(directory.add_token("alice smith", token("T-9")), Err(EmbeddedProblem::TokensTooMany)));
    assert_eq!(tokens(&site.known("bob").unwrap()).len(), 0);
    // A serial number that was refused is not taken.
    directory.add_token("bob", token("T-9")).unwrap();
}

#[test]
fn sec_secrets_and_passwords_do_not_stand_in_the_files() {
    let site = Site::new().with_alice();
    site.directory.add_token("alice smith", token("T-1")).unwrap();
    let store = site.folder.path().join(STORE_FILE);
    for file in [&store, &site.folder.path().join(KEY_FILE)] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    drop(site.directory);
    let octets = std::fs::read(store).unwrap();
    let holds = |needle: &[u8]| octets.windows(needle.len()).any(|window| window == needle);
    assert!(holds(b"{sekisho:v1}embedded:") && holds(b"$argon2id$v=19$m=19456,t=2,p=1$"));
    assert!(!holds(KEY) && !holds(b"right"));
}

#[test]
fn without_its_key_the_store_is_not_opened_and_with_another_no_token_works() {
    let site = Site::new().with_alice();
    site.directory.add_token("alice smith", token("T-1")).unwrap();
    drop(site.directory);
    let key = site.folder.path().join(KEY_FILE);
    std::fs::remove_file(&key).unwrap();
    let refused = Embedded::open(site.folder.path(), site.bindings, 1);
    assert!(matches!(refused.err(), Some(EmbeddedProblem::KeyMissing(file)) if file == key));
    std::fs::write(&key, Keyring::line("embedded", &[9; 32]).as_bytes()).unwrap();
    let site = Site::within(site.folder);
    let standing = tokens(&site.known("alice smith").unwrap())[0].standing;
    assert_eq!(standing, Standing::Unusable(Defect::SecretSealed));
}

#[test]
fn a_second_process_and_a_foreign_file_are_refused() {
    let site = Site::new();
    let second = Embedded::open(site.folder.path(), Arc::clone(&site.bindings), 1);
    assert!(matches!(second.err(), Some(EmbeddedProblem::Store { .. })));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(STORE_FILE), [7; 10_000]).unwrap();
    std::fs::write(folder.path().join(KEY_FILE), Keyring::line("embedded", &[9; 32]).as_bytes()).unwrap();
    let foreign = Embedded::open(folder.path(), Arc::clone(&site.bindings), 1);
    assert!(matches!(foreign.err(), Some(EmbeddedProblem::Store { .. })));
}
