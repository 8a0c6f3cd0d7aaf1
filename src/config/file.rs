//! The text as written: every table and key that a configuration file may have, all of them optional.
//!
//! Nothing here is checked beyond its form; `build` does that. Defaults stand in `defaults.toml`.

use super::value::{Length, List, Listen, Lock, Network};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Declares the tables: every key optional, kebab-case, unknown keys refused. No `Debug`: some hold secrets.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident { $($(#[$key_doc:meta])* $key:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Default, Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct $name {
            $($(#[$key_doc])* pub $key: Option<$type>,)*
        }
    )*};
}

/// Declares the words that a key may have.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident $(= $text:literal)?,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($(#[$word_doc])* $(#[serde(rename = $text)])? $word,)*
        }
    )*};
}

mod acts;

pub use acts::{Act, ActorRole, May, Operator};

tables! {
    /// A whole file.
    Root {
        /// Files with service profiles, relative to this file; the last part may have one `*`.
        #[expect(dead_code, reason = "the layers read it before there is a whole")]
        services: List<String>,
        /// The RADIUS server.
        radius: Radius,
        /// Where users and tokens live.
        directory: Directory,
        /// The service profiles by name.
        service: BTreeMap<String, Service>,
        /// What survives a restart.
        state: State,
        /// Metrics and health.
        http: Http,
        /// The operator's socket.
        admin: Admin,
        /// Letters to users.
        mail: Mail,
        /// The evidence.
        audit: Audit,
        /// The log.
        log: Log,
    }

    /// A file that `services` names: service profiles and nothing else.
    Services {
        /// The service profiles by name.
        #[expect(dead_code, reason = "only its form is checked here; the whole has it too")]
        service: BTreeMap<String, Service>,
    }

    /// `[radius]`.
    Radius {
        /// UDP addresses.
        listen: List<Listen>,
        /// Who may ask.
        client: Vec<Client>,
        /// How long replies are kept for repeated requests, at least.
        reply_cache_lifetime: Length,
        /// The most attributes a packet may have.
        attributes_max: u64,
        /// The most requests in flight, of all clients together.
        in_flight_max: u64,
        /// Threads that judge; as many as processors, if not given.
        workers: u64,
    }

    /// `[[radius.client]]`.
    Client {
        /// Its name in logs and metrics.
        name: String,
        /// Where its requests come from.
        network: List<Network>,
        /// The shared secret itself; loopback only.
        secret: String,
        /// A file that holds it.
        secret_file: PathBuf,
        /// A systemd credential that holds it.
        secret_credential: String,
        /// The secret that the client is changing to, itself; loopback only.
        next_secret: String,
        /// A file that holds it.
        next_secret_file: PathBuf,
        /// A systemd credential that holds it.
        next_secret_credential: String,
        /// Whether requests must be signed.
        message_authenticator: MessageAuthenticator,
        /// With `optional`: whether unsigned requests with Proxy-State are dropped.
        limit_proxy_state: bool,
        /// Allows what is unsafe: short secrets, `limit-proxy-state = false`.
        insecure: bool,
        /// Allows a network that holds every address.
        any_network: bool,
        /// How long it waits before it asks again.
        timeout: Length,
        /// How often it asks again.
        retries: u64,
        /// The service profile of its users.
        service: String,
        /// The character set of passwords.
        password_encoding: Charset,
        /// What is done to passwords before the directory sees them.
        password_normalization: Normalization,
        /// How it writes user names.
        user_name: UserName,
        /// Whether Status-Server is answered.
        status_server: bool,
        /// The most of its requests in flight.
        in_flight_max: u64,
        /// For how long an accepted login is answered again, once, to a new packet.
        lost_answer_grace: Length,
    }

    /// `[directory]`.
    Directory {
        /// Which of the two.
        kind: DirectoryKind,
        /// An LDAP directory.
        ldap: Ldap,
        /// The directory that needs no server.
        embedded: Embedded,
    }

    /// `[directory.ldap]`.
    Ldap {
        /// URLs, tried in order.
        servers: List<String>,
        /// How the connection is protected.
        tls: LdapTls,
        /// The authorities that the servers' certificates must come from.
        ca_file: PathBuf,
        /// Allows `tls = "none"` off loopback.
        allow_cleartext: bool,
        /// Who searches.
        bind_dn: String,
        /// Its password itself; loopback only.
        bind_password: String,
        /// A file that holds it.
        bind_password_file: PathBuf,
        /// A systemd credential that holds it.
        bind_password_credential: String,
        /// Users and tokens are below it.
        base: String,
        /// New tokens go below it.
        token_base: String,
        /// Contracts go below it.
        contract_base: String,
        /// Finds a user; `{user}` is the name.
        user_filter: String,
        /// Which attributes mean what.
        layout: LdapLayout,
        /// The attributes' names, with `layout = "custom"`.
        custom: Custom,
        /// How long the directory's default password policy locks an account.
        lock_duration: Length,
        /// How users and tokens come into memory.
        bindings: LdapBindings,
        /// With `poll`: how often everything is read.
        poll_every: Length,
        /// With `ask`: how long one answer is believed.
        cache_lifetime: Length,
        /// With `ask`: how many users are kept.
        cache_size: u64,
        /// With `follow` and `poll`: how long an unconfirmed table is believed.
        max_stale: Length,
        /// With `follow`: how long a password that the directory has called right need not be asked for again.
        password_cache: Length,
        /// The most an operation may take.
        timeout: Length,
        /// Connections for user binds, for each server.
        pool: u64,
        /// Connections for searches, for each server.
        search_pool: u64,
        /// The largest part of all users, in percent, that may disappear at once.
        shrink_limit: u64,
        /// What a bind with an expired password and grace logins left means.
        grace_logins: GraceLogins,
        /// A file with the keys of sealed token secrets.
        seal_key_file: PathBuf,
        /// A systemd credential with them.
        seal_key_credential: String,
    }

    /// `[directory.ldap.custom]`: names of attributes; what is not named is not read. With neither `token-reference` nor
    /// `token-owner`, the user's own entry holds one token.
    Custom {
        /// On the user: DN of a token.
        token_reference: String,
        /// On the token: DN of its user.
        token_owner: String,
        /// The object class of token entries.
        token_class: String,
        /// What moves the codes on.
        r#type: TokenType,
        /// The key.
        secret: String,
        /// How the key is written.
        secret_encoding: SecretEncoding,
        /// The serial number.
        serial: String,
        /// The hash.
        algorithm: String,
        /// The number of digits.
        digits: String,
        /// The period in seconds.
        period: String,
        /// Steps accepted either way.
        window: String,
        /// The counter or step that is used up.
        spent: String,
        /// Whether that is the last used or the next one.
        spent_is: SpentIs,
        /// TRUE suspends the token.
        disabled: String,
        /// Not usable before this Generalized Time.
        not_before: String,
        /// Not usable after this one.
        not_after: String,
        /// What identifies an entry over renames.
        identity: String,
        /// On the user: the contract.
        contract: String,
        /// On the user: the role.
        role: String,
    }

    /// `[directory.embedded]`.
    Embedded {
        /// The folder of its database and of the key that seals token secrets in it.
        folder: PathBuf,
    }

    /// `[service.<name>]`.
    Service {
        /// Digits of a code, where the token does not say.
        digits: u64,
        /// How long a code is shown, where the token does not say.
        period: Length,
        /// The hash, where the token does not say.
        algorithm: Algorithm,
        /// Steps accepted before and after now.
        window: Window,
        /// Who checks the password.
        password: Password,
        /// How password and code share the field.
        layout: String,
        /// Whether the code is asked for in a second step.
        second_step: SecondStep,
        /// How long a challenge waits for its answer.
        challenge_lifetime: Length,
        /// The failure in a row that locks.
        max_failures: u64,
        /// How long a lock holds.
        lock: Lock,
        /// What a right code with a wrong password costs beside the code.
        wrong_password: WrongPassword,
        /// The earliest a reject leaves.
        reject_delay: Length,
        /// The reply texts that ship.
        language: Language,
        /// The text of a reject; empty sends none.
        reject_text: String,
        /// The text of a challenge; empty sends none.
        challenge_text: String,
        /// How long after a revocation a new token may be set up.
        reissue_after: Length,
        /// Hours in which nothing opens.
        reissue_closed: String,
        /// The bank's time zone.
        time_zone: String,
        /// Days on which nothing opens.
        reissue_closed_days: List<String>,
        /// What a start password looks like.
        start_password: String,
        /// How long a setup waits for the app.
        setup_lifetime: Length,
        /// How long a token is valid.
        token_lifetime: Length,
        /// How long before its end a token may be renewed.
        renewal_from: Length,
        /// Where the app is set up; it stands in the letter.
        setup_link: String,
        /// Where the ids of a setup are told.
        setup_ids: SetupIds,
        /// What `user-choice` means for who has not chosen.
        undecided: Undecided,
        /// Whether only users of enabled contracts are asked for codes.
        contracts: ContractRule,
        /// What a user without a token may do where a code is needed.
        without_token: WithoutToken,
        /// The operations, in the order in which they are tried.
        operation: Vec<Operation>,
        /// What applies to a request that fits none of them.
        otherwise: Otherwise,
        /// Who may do what, where that is not as everywhere.
        may: May,
    }

    /// `[[service.<name>.operation]]`.
    Operation {
        /// Its name in logs and evidence.
        name: String,
        /// How a request for it looks: attribute and value, or list of values.
        r#match: BTreeMap<String, List<String>>,
        /// Whether it needs a code.
        code: Requirement,
    }

    /// `[service.<name>.otherwise]`.
    Otherwise {
        /// The name in logs and evidence.
        name: String,
        /// Whether it needs a code.
        code: OtherwiseCode,
    }

    /// `[state]`.
    State {
        /// The folder.
        directory: PathBuf,
        /// When a mark is on disk.
        durability: Durability,
        /// The engine that several nodes share, as a URL.
        cluster: String,
        /// Its password itself; loopback only.
        cluster_password: String,
        /// A file that holds it.
        cluster_password_file: PathBuf,
        /// A systemd credential that holds it.
        cluster_password_credential: String,
        /// The authorities of its certificate.
        cluster_ca_file: PathBuf,
        /// A file with the key that all nodes share.
        cluster_key_file: PathBuf,
        /// A systemd credential with that key.
        cluster_key_credential: String,
        /// What happens when the engine cannot be reached.
        cluster_lost: ClusterLost,
        /// The node that may go on alone.
        cluster_alone: String,
        /// How long one answer of the engine may take.
        cluster_timeout: Length,
        /// This node's name.
        node: String,
    }

    /// `[http]`.
    Http {
        /// The address of everything.
        listen: Listen,
        /// Allows monitoring in clear on an address that is not loopback.
        allow_cleartext: bool,
        /// A second address, in clear, for monitoring alone.
        monitoring_listen: Listen,
        /// The server's certificate.
        tls_certificate: PathBuf,
        /// Its key.
        tls_key: PathBuf,
        /// A systemd credential that holds the key.
        tls_key_credential: String,
        /// The authorities of callers' certificates.
        client_ca: PathBuf,
        /// Requests of one source or caller.
        requests_per_minute: u64,
        /// Setups of one source.
        setups_per_minute: u64,
        /// Who may call.
        caller: Vec<HttpCaller>,
    }

    /// `[[http.caller]]`.
    HttpCaller {
        /// The name that `[[admin.operator]]` gives roles to.
        name: String,
        /// A file that holds the bearer token.
        token_file: PathBuf,
        /// A systemd credential that holds it.
        token_credential: String,
        /// The DNS name in the caller's certificate.
        certificate_name: String,
    }

    /// `[admin]`.
    Admin {
        /// The socket.
        socket: PathBuf,
        /// The operating-system group whose members may open the socket too.
        socket_group: String,
        /// Who may act, and as whom.
        operator: Vec<Operator>,
        /// Acts that need a second person.
        four_eyes: List<Act>,
        /// How long a request waits for a second person.
        request_lifetime: Length,
        /// Who may do what.
        may: May,
    }

    /// `[mail]`.
    Mail {
        /// The mail server.
        server: String,
        /// How the connection is protected.
        tls: MailTls,
        /// The authorities that the server's certificate must come from.
        ca_file: PathBuf,
        /// Allows `tls = "none"` off loopback.
        allow_cleartext: bool,
        /// Who sends.
        from: String,
        /// Who logs in.
        user: String,
        /// A file that holds the password.
        password_file: PathBuf,
        /// A systemd credential that holds it.
        password_credential: String,
        /// A folder with templates that replace those that ship.
        templates: PathBuf,
    }

    /// `[audit]`.
    Audit {
        /// The file.
        file: PathBuf,
        /// What happens when it cannot be written.
        on_failure: OnFailure,
    }

    /// `[log]`.
    Log {
        /// The form of a line.
        format: LogFormat,
        /// The least that is logged.
        level: LogLevel,
    }
}

words! {
    /// `cluster-lost`.
    ClusterLost {
        /// Nobody is answered.
        NoAnswer,
        /// One named node goes on alone.
        Alone,
    }
    /// Whether requests must be signed.
    MessageAuthenticator {
        /// Always.
        Require,
        /// Once the client has been seen to sign.
        Auto,
        /// No.
        Optional,
    }
    /// The character set of a client.
    Charset {
        /// Octets pass untouched.
        Utf8 = "utf-8",
        /// Shift_JIS as Windows writes it.
        Cp932,
        /// ISO 8859-1.
        Latin1 = "latin-1",
    }
    /// Unicode normalisation of passwords.
    Normalization {
        /// None.
        Off,
        /// Composed.
        Nfc,
        /// Composed and compatible.
        Nfkc,
    }
    /// How a client writes user names.
    UserName {
        /// As the directory knows them.
        AsSent,
        /// With a realm that is taken away.
        StripRealm,
    }
    /// The directories.
    DirectoryKind {
        /// An LDAP server.
        Ldap,
        /// A file of our own.
        Embedded,
    }
    /// How LDAP is protected.
    LdapTls {
        /// TLS from the first octet.
        Ldaps,
        /// TLS after StartTLS.
        StartTls,
        /// Not.
        None,
    }
    /// Which attributes mean what.
    LdapLayout {
        /// slapd's `otp` module.
        Oath,
        /// FreeIPA.
        Freeipa,
        /// As `[directory.ldap.custom]` says.
        Custom,
    }
    /// How users and tokens come into memory.
    LdapBindings {
        /// RFC 4533 refreshAndPersist.
        Follow,
        /// Everything, every so often.
        Poll,
        /// Each when asked for, with a cache.
        Ask,
    }
    /// What a grace login is.
    GraceLogins {
        /// An expired password.
        Refused,
        /// A right password.
        Accepted,
    }
    /// How a key is written in an attribute.
    SecretEncoding {
        /// As octets.
        Raw,
        /// RFC 4648 §6.
        Base32,
        /// RFC 4648 §4.
        Base64,
        /// RFC 4648 §8.
        Hex,
    }
    /// What moves the codes on.
    TokenType {
        /// Time.
        Totp,
        /// A counter.
        Hotp,
    }
    /// What a stored counter or step is.
    SpentIs {
        /// The last that was used.
        LastUsed,
        /// The next that will be accepted.
        Next,
    }
    /// The hash of a code.
    Algorithm {
        /// HMAC-SHA-1.
        Sha1,
        /// HMAC-SHA-256.
        Sha256,
        /// HMAC-SHA-512.
        Sha512,
    }
    /// Who checks the password.
    Password {
        /// The directory.
        Directory,
        /// The gateway has.
        None,
    }
    /// Whether the code is asked for in a second step.
    SecondStep {
        /// No.
        Never,
        /// If none came.
        WhenMissing,
        /// Yes.
        Always,
    }
    /// What a wrong password costs.
    WrongPassword {
        /// A failure, as a wrong code does.
        Counts,
        /// The code alone.
        Burns,
    }
    /// The reply texts that ship.
    Language {
        /// Japanese.
        Ja,
        /// English.
        En,
    }
    /// Whether only users of enabled contracts are asked for codes.
    ContractRule {
        /// No: everybody is.
        Ignore,
        /// Yes.
        Enable,
    }
    /// What a user without a token may do where a code is needed.
    WithoutToken {
        /// Nothing.
        Refuse,
        /// The field is the password.
        Password,
    }
    /// How mail is protected.
    MailTls {
        /// TLS from the first octet.
        Implicit,
        /// TLS after STARTTLS.
        StartTls,
        /// Not.
        None,
    }
    /// Where the ids of a setup are told.
    SetupIds {
        /// In the letter.
        Mail,
        /// On the screen only.
        Screen,
    }
    /// What `user-choice` means for who has not chosen.
    Undecided {
        /// A code.
        Required,
        /// None.
        NotRequired,
    }
    /// Whether an operation needs a code.
    Requirement {
        /// It does.
        Required,
        /// One is checked if it comes.
        Optional,
        /// None is looked at.
        Never,
        /// The user decides.
        UserChoice,
    }
    /// The same for what fits no operation.
    OtherwiseCode {
        /// It does.
        Required,
        /// One is checked if it comes.
        Optional,
        /// None is looked at.
        Never,
        /// The user decides.
        UserChoice,
        /// The request is refused.
        Refuse,
    }
    /// When a mark is on disk.
    Durability {
        /// Before the accept leaves.
        Sync,
        /// Within a second.
        Relaxed,
        /// Never.
        Memory,
    }
    /// What happens when the evidence cannot be written.
    OnFailure {
        /// Nobody is answered.
        Stop,
        /// Service goes on and the alarm is raised.
        Alarm,
    }
    /// The form of a log line.
    LogFormat {
        /// For people on a terminal, JSON elsewhere.
        Auto,
        /// For machines.
        Json,
        /// For people.
        Text,
    }
    /// The least that is logged.
    LogLevel {
        /// Errors.
        Error,
        /// And warnings.
        Warn,
        /// And what operators want to know.
        Info,
        /// And what developers want to know.
        Debug,
        /// And every step.
        Trace,
    }
}

/// Steps accepted around now: a number for both directions, or one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Before now.
    pub back: u64,
    /// After now.
    pub forward: u64,
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Window, D::Error> {
        struct Steps;
        impl<'de> Visitor<'de> for Steps {
            type Value = Window;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of steps such as 1, or { back = 1, forward = 0 }")
            }

            fn visit_i64<E: Error>(self, steps: i64) -> Result<Window, E> {
                let steps = u64::try_from(steps)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(steps), &self))?;
                Ok(Window { back: steps, forward: steps })
            }

            fn visit_u64<E: Error>(self, steps: u64) -> Result<Window, E> {
                Ok(Window { back: steps, forward: steps })
            }

            fn visit_map<A: MapAccess<'de>>(self, steps: A) -> Result<Window, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Both {
                    back: u64,
                    forward: u64,
                }
                Both::deserialize(MapAccessDeserializer::new(steps))
                    .map(|Both { back, forward }| Window { back, forward })
            }
        }
        deserializer.deserialize_any(Steps)
    }
}
