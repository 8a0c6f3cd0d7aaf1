//! A slapd with many users, each with a token: what bindings are followed from, and what passwords are asked of.

use crate::processes::{Process, Processors, free_port};
use crate::requests::{PASSWORD, PERIOD, key, name};
use std::fmt::Write as _;
use std::io::BufWriter;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const BASE: &str = "dc=example,dc=jp";
pub const SERVICE_DN: &str = "cn=sekisho,ou=services,dc=example,dc=jp";
pub const SERVICE_PASSWORD: &str = "service-of-the-load-bench";

pub const ADMIN_DN: &str = "cn=admin,dc=example,dc=jp";
pub const ADMIN_PASSWORD: &str = "admin";

pub struct Slapd {
    pub process: Process,
    pub port: u16,
    _folder: TempDir,
}

impl Slapd {
    /// Fills a directory with `users` users and starts a server on it.
    pub fn start(users: u32, on: Processors) -> Slapd {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = folder.path();
        std::fs::create_dir(path.join("db")).unwrap();
        let configuration = path.join("slapd.conf");
        std::fs::write(&configuration, configure(&path.display().to_string())).unwrap();
        let begun = Instant::now();
        let ldif = path.join("users.ldif");
        write_users(&mut BufWriter::new(std::fs::File::create(&ldif).unwrap()), users).unwrap();
        let filled = Command::new("/usr/sbin/slapadd")
            .arg("-q")
            .arg("-f")
            .arg(&configuration)
            .arg("-l")
            .arg(&ldif)
            .output()
            .expect("slapadd");
        assert!(filled.status.success(), "slapadd: {}", String::from_utf8_lossy(&filled.stderr));
        std::fs::remove_file(&ldif).unwrap();
        eprintln!("slapd: {users} users in {:.1} s", begun.elapsed().as_secs_f64());
        let port = free_port();
        let url = format!("ldap://127.0.0.1:{port}/");
        // `-d 0` keeps it in the foreground and says nothing.
        let process = Process::start(
            "/usr/sbin/slapd",
            &["-d", "0", "-h", &url, "-f", configuration.to_str().unwrap()],
            on,
        );
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "slapd does not listen: {}", process.output());
            std::thread::sleep(Duration::from_millis(10));
        }
        Slapd { process, port, _folder: folder }
    }

    pub fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    /// How long `ldapsearch` needs to print everything, on the processor where the daemon starts: what its start is
    /// compared with.
    pub fn print_everything(&self, on: Processors) -> Duration {
        let url = self.url();
        let search = ["ldapsearch", "-x", "-LLL", "-H", &url, "-D", SERVICE_DN, "-w", SERVICE_PASSWORD];
        let search = search.into_iter().chain(["-b", BASE, "*", "+"]);
        let pinned = ["taskset", "-c", "0"].into_iter().take(if on == Processors::First { 3 } else { 0 });
        let words: Vec<&str> = pinned.chain(search).collect();
        let begun = Instant::now();
        let printed = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).status();
        assert!(printed.expect("ldapsearch").success(), "ldapsearch cannot print the directory");
        begun.elapsed()
    }
}

fn configure(path: &str) -> String {
    let mut text = String::new();
    for schema in ["core", "cosine", "inetorgperson"] {
        writeln!(text, "include /etc/ldap/schema/{schema}.schema").unwrap();
    }
    text.push_str("modulepath /usr/lib/ldap\n");
    for module in ["back_mdb", "syncprov", "otp"] {
        writeln!(text, "moduleload {module}").unwrap();
    }
    writeln!(text, "include {}/conf/ldap/sekisho.schema", env!("CARGO_MANIFEST_DIR")).unwrap();
    write!(
        text,
        "pidfile {path}/slapd.pid\nthreads 4\nloglevel 0\n\
         database mdb\nsuffix {BASE}\nrootdn {ADMIN_DN}\nrootpw {ADMIN_PASSWORD}\ndirectory {path}/db\nmaxsize 17179869184\ndbnosync\n\
         index objectClass,uid,entryUUID,entryCSN eq\n\
         access to attrs=userPassword by anonymous auth by * none\n\
         access to * by dn.exact={SERVICE_DN} read by anonymous auth by * none\n\
         limits dn.exact={SERVICE_DN} size=unlimited time=unlimited\n\
         overlay syncprov\n"
    )
    .unwrap();
    text
}

fn write_users(out: &mut impl std::io::Write, users: u32) -> std::io::Result<()> {
    writeln!(out, "dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n")?;
    for unit in ["people", "tokens", "params", "services"] {
        writeln!(out, "dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}\n")?;
    }
    writeln!(
        out,
        "dn: {SERVICE_DN}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: sekisho\n\
         userPassword: {SERVICE_PASSWORD}\n"
    )?;
    writeln!(
        out,
        "dn: cn=p6,ou=params,{BASE}\nobjectClass: device\nobjectClass: oathTOTPParams\ncn: p6\noathOTPLength: 6\n\
         oathHMACAlgorithm: 1.2.840.113549.2.7\noathTOTPTimeStepPeriod: {PERIOD}\noathTOTPTimeStepWindow: 1\n"
    )?;
    for user in 0..users {
        write_user(out, user)?;
    }
    out.flush()
}

/// A user and the token of this user, as LDIF.
pub fn write_user(out: &mut impl std::io::Write, user: u32) -> std::io::Result<()> {
    let name = name(user);
    writeln!(
        out,
        "dn: uid={name},ou=people,{BASE}\nobjectClass: inetOrgPerson\nobjectClass: oathTOTPUser\nuid: {name}\n\
         cn: {name}\nsn: {name}\nuserPassword: {PASSWORD}\nemployeeNumber: {}\noathTOTPToken: cn={name},ou=tokens,{BASE}\n\n\
         dn: cn={name},ou=tokens,{BASE}\nobjectClass: device\nobjectClass: oathTOTPToken\ncn: {name}\n\
         oathTokenSerialNumber: {name}\noathSecret:: {}\noathTOTPParams: cn=p6,ou=params,{BASE}\n",
        // For FreeRADIUS, which wants it as text in the user's own entry.
        data_encoding::BASE32_NOPAD.encode(&key(user)),
        data_encoding::BASE64.encode(&key(user)),
    )
}

/// The names of both entries, a line each.
pub fn write_names(out: &mut impl std::io::Write, user: u32) -> std::io::Result<()> {
    let name = name(user);
    writeln!(out, "uid={name},ou=people,{BASE}\ncn={name},ou=tokens,{BASE}")
}
