//! A real slapd on a loopback port with a directory of its own, for as long as the value lives.
//!
//! Only the standard library, `tempfile`, `rcgen` and the tools that come with slapd: the same file serves the unit
//! tests of the LDAP client and the black-box tests.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "every test takes what it needs; a harness that cannot work must fail the test"
)]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The suffix of the tree.
pub const BASE: &str = "dc=example,dc=jp";
/// Who may do everything.
pub const ADMIN_DN: &str = "cn=admin,dc=example,dc=jp";
/// The administrator's password.
pub const ADMIN_PASSWORD: &str = "admin";
/// The service identity: reads everything, writes nothing.
pub const SERVICE_DN: &str = "cn=sekisho,ou=services,dc=example,dc=jp";
/// Its password.
pub const SERVICE_PASSWORD: &str = "service";
/// The parameter entry that every directory starts with: 8 digits, 60 s, SHA-1, window 1.
pub const PARAMS_DN: &str = "cn=p8,ou=params,dc=example,dc=jp";

/// How a slapd is set up.
#[derive(Clone, Default)]
pub struct Options {
    /// Certificates: LDAPS on a second port, and StartTLS.
    pub tls: Option<Certificates>,
    /// The ppolicy overlay, with `cn=default,ou=policies,…` as the default policy (lock after three failures).
    pub password_policy: bool,
    /// The otp overlay itself guards users' binds.
    pub otp_overlay: bool,
    /// Lines for the global part of slapd.conf.
    pub global: String,
    /// Lines for the database part of slapd.conf, for example `sizelimit 5`.
    pub database: String,
    /// LDIF loaded with slapadd before the start, after the usual entries.
    pub ldif: String,
    /// Whether the service identity may write what acts on tokens write (`docs/operations.md`); loads our own schema.
    pub writable: bool,
    /// Schema files included besides core, cosine, inetorgperson and what the otp module brings.
    pub schema: Vec<PathBuf>,
}

/// A certificate authority and one server certificate, as PEM.
#[derive(Clone)]
pub struct Certificates {
    /// The authority's certificate.
    pub ca: String,
    /// The same in DER.
    pub ca_der: Vec<u8>,
    /// The server's certificate.
    pub certificate: String,
    /// The server's key.
    pub key: String,
}

/// How long a made certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Now.
    Current,
    /// It ended years ago.
    Past,
}

impl Certificates {
    /// Makes an authority and a certificate for these names and addresses.
    pub fn new(names: &[&str], validity: Validity) -> Certificates {
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::from_params(&ca, &ca_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
                .unwrap();
        if validity == Validity::Past {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Certificates {
            ca: ca_certificate.pem(),
            ca_der: ca_certificate.der().to_vec(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// One user of a test.
#[derive(Clone, Copy)]
pub struct User<'a> {
    /// `uid`; the DN is `uid=…,ou=people,` + base.
    pub uid: &'a str,
    /// The password, in any octets.
    pub password: &'a [u8],
    /// The DNs of the user's TOTP tokens.
    pub tokens: &'a [&'a str],
}

/// One TOTP token of a test.
#[derive(Clone, Copy)]
pub struct Token<'a> {
    /// `cn` and serial number; the DN is `cn=…,ou=tokens,` + base.
    pub cn: &'a str,
    /// The key.
    pub secret: &'a [u8],
    /// The parameter entry.
    pub params: &'a str,
}

/// A running slapd.
pub struct Slapd {
    directory: tempfile::TempDir,
    port: u16,
    tls_port: u16,
    child: Option<Child>,
}

impl Slapd {
    /// Starts one and waits until it answers.
    pub fn start(options: &Options) -> Slapd {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::create_dir(path.join("db")).unwrap();
        if let Some(tls) = &options.tls {
            std::fs::write(path.join("ca.pem"), &tls.ca).unwrap();
            std::fs::write(path.join("server.pem"), &tls.certificate).unwrap();
            std::fs::write(path.join("server.key"), &tls.key).unwrap();
        }
        std::fs::write(path.join("slapd.conf"), configuration(path, options)).unwrap();
        let mut slapd = Slapd { directory, port: free_port(), tls_port: free_port(), child: None };
        slapd.load(&format!("{}\n{}", usual_entries(options), options.ldif));
        slapd.run();
        slapd
    }

    /// The port for clear text and StartTLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port for LDAPS.
    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// `ldap://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("slapd is stopped").id()
    }

    /// Everything it has logged (level `stats`): one line per operation.
    pub fn log(&self) -> String {
        let mut octets = Vec::new();
        std::fs::File::open(self.directory.path().join("log")).unwrap().read_to_end(&mut octets).unwrap();
        String::from_utf8_lossy(&octets).into_owned()
    }

    /// Adds entries with slapadd while it is not running.
    pub fn load(&self, ldif: &str) {
        assert!(self.child.is_none(), "slapadd needs a stopped slapd");
        let file = self.directory.path().join("load.ldif");
        std::fs::write(&file, classes_together(ldif)).unwrap();
        let conf = self.directory.path().join("slapd.conf");
        let mut slapadd = Command::new("/usr/sbin/slapadd");
        slapadd.arg("-q").arg("-f").arg(conf).arg("-b").arg(BASE).arg("-l").arg(file);
        succeeded("slapadd", &slapadd.output().expect("slapadd is missing: install slapd"));
    }

    /// Everything in it as LDIF with its identities, as slapcat writes it: a replica loads this.
    pub fn dump(&self) -> String {
        let mut slapcat = Command::new("/usr/sbin/slapcat");
        slapcat.arg("-f").arg(self.directory.path().join("slapd.conf")).arg("-b").arg(BASE);
        let output = slapcat.output().expect("slapcat is missing: install slapd");
        succeeded("slapcat", &output);
        String::from_utf8(output.stdout).unwrap()
    }

    /// A slapd with the same entries and identities as this one.
    pub fn replica(&self, options: &Options) -> Slapd {
        let mut replica = Slapd::start(options);
        replica.stop();
        std::fs::remove_dir_all(replica.directory.path().join("db")).unwrap();
        std::fs::create_dir(replica.directory.path().join("db")).unwrap();
        replica.load(&self.dump());
        replica.run();
        replica
    }

    /// Changes entries as the administrator: LDIF with changetypes; entries without one are added.
    pub fn change(&self, ldif: &str) {
        succeeded("ldapmodify", &self.try_change(ldif));
    }

    /// The same, when it may fail.
    pub fn try_change(&self, ldif: &str) -> Output {
        let mut child = Command::new("ldapmodify")
            .args(["-a", "-x", "-D", ADMIN_DN, "-w", ADMIN_PASSWORD, "-H", &self.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ldapmodify is missing: install ldap-utils");
        child.stdin.take().unwrap().write_all(ldif.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Adds a user; gives the DN.
    pub fn add_user(&self, user: User<'_>) -> String {
        self.change(&user_ldif(user));
        user_dn(user.uid)
    }

    /// Adds a token; gives the DN.
    pub fn add_token(&self, token: Token<'_>) -> String {
        self.change(&token_ldif(token));
        token_dn(token.cn)
    }

    /// Adds a user without tokens; gives the DN.
    pub fn add_person(&self, uid: &str, password: &str) -> String {
        self.add_user(User { uid, password: password.as_bytes(), tokens: &[] })
    }

    /// Adds a parameter entry for TOTP with SHA-1 and a window of one step; gives the DN.
    pub fn add_params(&self, cn: &str, digits: u32, period: u32) -> String {
        let dn = format!("cn={cn},ou=params,{BASE}");
        self.change(&format!(
            "dn: {dn}\nobjectClass: device\nobjectClass: oathTOTPParams\ncn: {cn}\noathOTPLength: {digits}\noathHMACAlgorithm: 1.2.840.113549.2.7\noathTOTPTimeStepPeriod: {period}\noathTOTPTimeStepWindow: 1\n"
        ));
        dn
    }

    /// Makes a user who has no token yet refer to one. The schema allows one TOTP token for each user.
    pub fn refer(&self, user: &str, token: &str) {
        self.change(&format!(
            "dn: {user}\nchangetype: modify\nadd: objectClass\nobjectClass: oathTOTPUser\n-\nadd: oathTOTPToken\noathTOTPToken: {token}\n"
        ));
    }

    /// Deletes an entry.
    pub fn delete(&self, dn: &str) {
        self.change(&format!("dn: {dn}\nchangetype: delete\n"));
    }

    /// Freezes it: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.signal("-STOP");
        // The signal is on its way when it is sent; each thread stops when it gets to it.
        let stopped = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with('T'))
        };
        while !std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().all(stopped) {
            std::thread::yield_now();
        }
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Ends it in order.
    pub fn stop(&mut self) {
        self.signal("-TERM");
        self.child.take().unwrap().wait().unwrap();
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Changes what it holds while nobody who knows its port can reach it; it runs again afterwards.
    pub fn change_unseen(&mut self, change: impl FnOnce(&Slapd)) {
        self.stop();
        let port = std::mem::replace(&mut self.port, free_port());
        self.run();
        change(self);
        self.stop();
        self.port = port;
        self.run();
    }

    /// Starts it again on the same ports with the same data.
    pub fn run(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .unwrap();
        let mut urls = format!("ldap://127.0.0.1:{}/", self.port);
        if self.directory.path().join("server.pem").exists() {
            write!(urls, " ldaps://127.0.0.1:{}/", self.tls_port).unwrap();
        }
        let child = Command::new("/usr/sbin/slapd")
            .args(["-d", "stats", "-h", &urls, "-f"])
            .arg(self.directory.path().join("slapd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("slapd is missing: install slapd");
        self.child = Some(child);
        for _ in 0..3000 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "slapd ended at once:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("slapd does not listen:\n{}", self.log());
    }

    /// Throws all data away and loads these entries instead; it must be stopped.
    pub fn replace_all(&self, options: &Options) {
        assert!(self.child.is_none(), "replacing the data needs a stopped slapd");
        let database = self.directory.path().join("db");
        std::fs::remove_dir_all(&database).unwrap();
        std::fs::create_dir(&database).unwrap();
        self.load(&format!("{}\n{}", usual_entries(options), options.ldif));
    }

    fn signal(&self, signal: &str) {
        succeeded("kill", &Command::new("kill").args([signal, &self.pid().to_string()]).output().unwrap());
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The schema of our own classes, as it is shipped.
pub fn our_schema() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/ldap/sekisho.schema")
}

/// The rights that acts on tokens need, as `docs/operations.md` gives them.
pub fn write_rights() -> String {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let (_, rest) = manual.split_once("```slapd-rights\n").expect("the manual gives the rights");
    rest.split_once("```").unwrap().0.to_owned()
}

/// The DN of a user.
pub fn user_dn(uid: &str) -> String {
    format!("uid={uid},ou=people,{BASE}")
}

/// The DN of a token.
pub fn token_dn(cn: &str) -> String {
    format!("cn={cn},ou=tokens,{BASE}")
}

/// A user as LDIF.
pub fn user_ldif(user: User<'_>) -> String {
    let mut ldif = format!("dn: {}\nobjectClass: inetOrgPerson\n", user_dn(user.uid));
    if !user.tokens.is_empty() {
        ldif.push_str("objectClass: oathTOTPUser\n");
    }
    writeln!(
        ldif,
        "uid: {uid}\ncn: {uid}\nsn: {uid}\nuserPassword:: {}",
        base64(user.password),
        uid = user.uid
    )
    .unwrap();
    for token in user.tokens {
        writeln!(ldif, "oathTOTPToken: {token}").unwrap();
    }
    ldif.push('\n');
    ldif
}

/// A token as LDIF.
pub fn token_ldif(token: Token<'_>) -> String {
    format!(
        "dn: {}\nobjectClass: device\nobjectClass: oathTOTPToken\ncn: {cn}\noathTokenSerialNumber: {cn}\noathSecret:: {}\noathTOTPParams: {}\n\n",
        token_dn(token.cn),
        base64(token.secret),
        token.params,
        cn = token.cn,
    )
}

/// Octets in the form that LDIF carries after `::`.
pub fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in octets.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, &octet| (group << 8) | u32::from(octet))
            << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let digit = ALPHABET[usize::try_from(group >> (18 - 6 * position) & 63).unwrap()];
            text.push(if position > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

/// slapadd sees only those values of objectClass that stand together; brings all of an entry's right behind its DN.
fn classes_together(ldif: &str) -> String {
    let mut sorted = String::new();
    for record in ldif.split("\n\n") {
        let (dn, rest) = record.trim_start().split_once('\n').unwrap_or((record, ""));
        let (classes, others): (Vec<&str>, Vec<&str>) =
            rest.lines().partition(|line| line.to_ascii_lowercase().starts_with("objectclass:"));
        for line in [dn].into_iter().chain(classes).chain(others) {
            writeln!(sorted, "{line}").unwrap();
        }
        sorted.push('\n');
    }
    sorted
}

fn configuration(path: &Path, options: &Options) -> String {
    let mut conf = String::new();
    for schema in ["core", "cosine", "inetorgperson"] {
        writeln!(conf, "include /etc/ldap/schema/{schema}.schema").unwrap();
    }
    conf.push_str("modulepath /usr/lib/ldap\n");
    for module in ["back_mdb", "syncprov", "ppolicy", "unique", "otp"] {
        writeln!(conf, "moduleload {module}").unwrap();
    }
    if options.writable {
        writeln!(conf, "include {}", our_schema().display()).unwrap();
    }
    for schema in &options.schema {
        writeln!(conf, "include {}", schema.display()).unwrap();
    }
    let path = path.display();
    writeln!(conf, "pidfile {path}/slapd.pid\nthreads 4").unwrap();
    if options.tls.is_some() {
        writeln!(conf, "TLSCACertificateFile {path}/ca.pem\nTLSCertificateFile {path}/server.pem\nTLSCertificateKeyFile {path}/server.key").unwrap();
    }
    conf.push_str(&options.global);
    let rights = if options.writable { write_rights() } else { String::new() };
    writeln!(
        conf,
        "\ndatabase config\nrootdn {ADMIN_DN}\naccess to * by dn.exact={SERVICE_DN} read\n\
         \ndatabase mdb\nsuffix {BASE}\nrootdn {ADMIN_DN}\nrootpw {ADMIN_PASSWORD}\ndirectory {path}/db\nmaxsize 1073741824\ndbnosync\n\
         index objectClass,uid,entryUUID,entryCSN eq\nindex oathTOTPToken,oathHOTPToken,oathTokenSerialNumber eq\n\
         access to attrs=userPassword by anonymous auth by * none\n\
         {rights}\
         access to * by dn.exact={SERVICE_DN} read by anonymous auth by * none"
    )
    .unwrap();
    // The first limits that fit count, so that a test can set its own.
    conf.push_str(&options.database);
    writeln!(conf, "\nlimits dn.exact={SERVICE_DN} size=unlimited\noverlay syncprov").unwrap();
    if options.password_policy {
        writeln!(conf, "overlay ppolicy\nppolicy_default cn=default,ou=policies,{BASE}\nppolicy_use_lockout")
            .unwrap();
    }
    if options.otp_overlay {
        conf.push_str("overlay otp\n");
    }
    conf
}

fn usual_entries(options: &Options) -> String {
    let mut ldif =
        format!("dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n");
    for unit in ["people", "tokens", "params", "services", "policies", "contracts"] {
        writeln!(ldif, "dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}\n").unwrap();
    }
    writeln!(
        ldif,
        "dn: {SERVICE_DN}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: sekisho\nuserPassword: {SERVICE_PASSWORD}\n\n\
         dn: {PARAMS_DN}\nobjectClass: device\nobjectClass: oathTOTPParams\ncn: p8\noathOTPLength: 8\noathHMACAlgorithm: 1.2.840.113549.2.7\noathTOTPTimeStepPeriod: 60\noathTOTPTimeStepWindow: 1\n"
    )
    .unwrap();
    if options.password_policy {
        writeln!(
            ldif,
            "dn: cn=default,ou=policies,{BASE}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: default\npwdAttribute: userPassword\npwdLockout: TRUE\npwdMaxFailure: 3\npwdMustChange: TRUE\n"
        )
        .unwrap();
    }
    ldif
}

/// A port that was free a moment ago.
///
/// Below the range that the system gives to others, and never the same twice in one program: a slapd that is stopped
/// and started again must find its port free.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let place = std::process::id().wrapping_mul(7919) + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + u16::try_from(place % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn succeeded(tool: &str, output: &Output) {
    assert!(
        output.status.success(),
        "{tool} failed: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
