//! FreeRADIUS with rlm_totp, as small as it can be: users file, no log, no proxying, no delay, only the modules used.
//!
//! It remembers nothing: a code that was accepted is accepted again, which makes it cheaper than it may be. With a
//! directory it searches the user there, takes the key from the entry and binds as the user.

use crate::processes::{Process, Processors, free_port};
use crate::requests::{PASSWORD, SECRET, key, name};
use crate::slapd::{BASE, SERVICE_DN, SERVICE_PASSWORD, Slapd};
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PROGRAM: &str = "/usr/sbin/freeradius";

pub struct FreeRadius {
    pub process: Process,
    pub radius: SocketAddr,
    _folder: TempDir,
}

/// Whether it is here, with the module.
pub fn is_installed() -> bool {
    std::path::Path::new(PROGRAM).exists() && std::path::Path::new("/usr/lib/freeradius/rlm_totp.so").exists()
}

impl FreeRadius {
    /// Starts one; `threads` of 0 is its single-threaded mode. Users are in a file, or in a directory if one is given.
    pub fn start(users: u32, threads: u32, directory: Option<&Slapd>, on: Processors) -> FreeRadius {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = folder.path();
        let port = free_port();
        let configuration = configure(&path.display().to_string(), port, threads, directory);
        std::fs::write(path.join("radiusd.conf"), configuration).unwrap();
        std::fs::write(path.join("dictionary"), "$INCLUDE /usr/share/freeradius/dictionary\n").unwrap();
        let mut file = std::io::BufWriter::new(std::fs::File::create(path.join("users")).unwrap());
        for user in (0..users).filter(|_| directory.is_none()) {
            let secret = data_encoding::BASE32_NOPAD.encode(&key(user));
            writeln!(
                file,
                "{} Cleartext-Password := \"{PASSWORD}\", TOTP-Secret := \"{secret}\"\n",
                name(user)
            )
            .unwrap();
        }
        drop(file);
        let folder_text = path.to_str().unwrap();
        // `-f` stays in the foreground; `-s` is one thread for everything.
        let mut arguments = vec!["-d", folder_text, "-l", "/dev/null"];
        arguments.push(if threads == 0 { "-fs" } else { "-f" });
        let process = Process::start(PROGRAM, &arguments, on);
        let radius = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until_it_answers(&process, radius);
        FreeRadius { process, radius, _folder: folder }
    }
}

/// Asks with Status-Server until it says something.
fn wait_until_it_answers(process: &Process, server: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let begun = Instant::now();
    loop {
        let request = status_server();
        let _ = socket.send(&request);
        if socket.recv(&mut [0; 4096]).is_ok() {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "freeradius does not answer: {}",
            process.output()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn status_server() -> Vec<u8> {
    use hmac::{Hmac, KeyInit, Mac};
    let mut octets = vec![12, 1, 0, 38];
    octets.extend_from_slice(&[9; 16]);
    octets.extend_from_slice(&[80, 18]);
    octets.extend_from_slice(&[0; 16]);
    let signature =
        Hmac::<md5::Md5>::new_from_slice(SECRET).unwrap().chain_update(&octets).finalize().into_bytes();
    octets[22..].copy_from_slice(&signature);
    octets
}

fn configure(path: &str, port: u16, threads: u32, directory: Option<&Slapd>) -> String {
    let threads = threads.max(1);
    let modules = directory.map_or(FILES.replace("PATH", path), |slapd| ldap(slapd, threads));
    let (find, check) = if directory.is_some() {
        ("ldap", "update control {\n            &Auth-Type := LDAP\n        }")
    } else {
        ("files", "pap")
    };
    let secret = std::str::from_utf8(SECRET).unwrap();
    format!(
        r#"
prefix = /usr
sysconfdir = /etc
localstatedir = {path}
logdir = {path}
raddbdir = {path}
radacctdir = {path}
name = freeradius
confdir = {path}
modconfdir = {path}
certdir = {path}
cadir = {path}
run_dir = {path}
db_dir = {path}
libdir = /usr/lib/freeradius
pidfile = {path}/freeradius.pid
max_request_time = 30
cleanup_delay = 1
max_requests = 65536
hostname_lookups = no
proxy_requests = no
log {{
    destination = files
    file = /dev/null
    stripped_names = no
    auth = no
}}
security {{
    max_attributes = 200
    reject_delay = 0
    status_server = yes
}}
thread pool {{
    start_servers = {threads}
    max_servers = {threads}
    min_spare_servers = {threads}
    max_spare_servers = {threads}
    max_requests_per_server = 0
    auto_limit_acct = no
}}
client load {{
    ipaddr = 127.0.0.1
    secret = "{secret}"
    require_message_authenticator = yes
    limit {{
        max_connections = 0
    }}
}}
modules {{
    always reject {{
        rcode = reject
    }}
    pap {{
    }}
    totp {{
    }}
    {modules}
}}
server default {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {port}
    }}
    authorize {{
        if (&User-Password !~ /^(.*)([0-9]{{6}})$/) {{
            reject
        }}
        update request {{
            &User-Password := "%{{1}}"
            &TOTP-Password := "%{{2}}"
        }}
        {find}
        totp.authenticate
        if (!ok) {{
            reject
        }}
        {check}
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
        Auth-Type LDAP {{
            -ldap
        }}
    }}
}}
"#
    )
}

const FILES: &str = "files {
        filename = PATH/users
        usersfile = PATH/users
    }";

fn ldap(slapd: &Slapd, threads: u32) -> String {
    let (port, most) = (slapd.port, threads + 1);
    format!(
        r#"ldap {{
        server = "ldap://127.0.0.1:{port}"
        identity = "{SERVICE_DN}"
        password = "{SERVICE_PASSWORD}"
        base_dn = "{BASE}"
        update {{
            control:TOTP-Secret := 'employeeNumber'
        }}
        user {{
            base_dn = "ou=people,{BASE}"
            filter = "(uid=%{{User-Name}})"
        }}
        options {{
            chase_referrals = no
            res_timeout = 10
            net_timeout = 5
        }}
        pool {{
            start = {threads}
            min = {threads}
            max = {most}
            spare = 1
            uses = 0
            lifetime = 0
            idle_timeout = 0
        }}
    }}"#
    )
}
