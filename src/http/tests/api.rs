//! The API over real connections, in clear and with TLS, with operations that answer what a test wants.

use super::*;
use crate::admin::caller::Caller;
use crate::admin::protocol::{Ask, Kind, Mode, Password, Question, Refused, SetUpShown, Told};
use crate::formats::pskc::{self, Opening};
use crate::http::api::Paces;
use crate::http::routes::{Admission, Needed};
use crate::secret::Secret;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::num::NonZeroU32;
use std::sync::Mutex;
use tokio_rustls::TlsConnector;

const TOKEN: &str = "counter-token-of-thirty-two-letters";

/// What was asked, in the order of asking.
type Asked = Arc<Mutex<Vec<(Question, Caller)>>>;

struct Served {
    address: SocketAddr,
    asked: Asked,
    api: Arc<Api>,
    metrics: Arc<Metrics>,
    tls: Arc<ArcSwapOption<ServerConfig>>,
    _stop: oneshot::Sender<()>,
}

fn per_minute(n: u32) -> Pace {
    Pace { per_minute: NonZeroU32::new(n).unwrap() }
}

const PLENTY: u32 = 100_000;

fn usual(question: &Question) -> Told {
    match &question.ask {
        Ask::TokenSetup { start_password: Password(password), .. } if password == "1234" => {
            Told::SetUp(Box::new(SetUpShown {
                serial: "S-1".into(),
                otpauth: Password("otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".into()),
                algorithm: "sha1".into(),
                digits: 8,
                period: 60,
                key: Password("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".into()),
                ends: Some("2029-04-01T00:00:00Z".into()),
            }))
        }
        Ask::TokenSetup { .. } => refused("setup-wrong", Kind::Proof),
        _ if question.mode == Mode::DryRun => Told::WouldDo { what: "it".into() },
        _ => Told::done("it is done"),
    }
}

fn refused(reason: &str, kind: Kind) -> Told {
    Told::Refused(Refused { reason: reason.into(), why: format!("because of {reason}"), kind })
}

impl Served {
    async fn usual() -> Served {
        Served::with(per_minute(PLENTY), per_minute(PLENTY), None, usual).await
    }

    async fn with(
        requests: Pace,
        setups: Pace,
        tls: Option<Arc<ServerConfig>>,
        tell: impl Fn(&Question) -> Told + Send + Sync + 'static,
    ) -> Served {
        let asked = Asked::default();
        let (noted, tell) = (Arc::clone(&asked), Arc::new(tell));
        let perform: Perform = Arc::new(move |question, caller| {
            let (noted, tell) = (Arc::clone(&noted), Arc::clone(&tell));
            Box::pin(async move {
                // Long enough for a second request to come in between.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let told = tell(&question);
                noted.lock().unwrap().push((question, caller));
                told
            })
        });
        let metrics = Arc::new(Metrics::new().unwrap());
        let mut callers = Callers::default();
        callers.add_token("counter-system", &Secret::new(TOKEN.as_bytes())).unwrap();
        callers.add_certificate("branch-system", "branch.example.jp").unwrap();
        let api = Api::new(
            perform,
            callers,
            Paces { requests, setups },
            Arc::clone(&metrics),
            Secret::new([7; 32]),
        );
        let state = State {
            metrics: Arc::clone(&metrics),
            readiness: Arc::new(Readiness::default),
            health: Arc::new(Health::default),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let tls = Arc::new(ArcSwapOption::new(tls));
        let door = Door { listener, tls: Arc::clone(&tls), cleartext: Cleartext::LoopbackOnly };
        tokio::spawn(serve(door, Arc::clone(&metrics), routes(state, Arc::clone(&api)), async {
            let _ = stopped.await;
        }));
        Served { address, asked, api, metrics, tls, _stop: stop }
    }

    /// Sends the octets and reads until the server closes.
    async fn say(&self, octets: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let _ = stream.write_all(octets).await;
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply).await;
        Reply::read(&reply)
    }

    async fn get(&self, path: &str) -> Reply {
        self.say(get(path, &bearer()).as_bytes()).await
    }

    async fn post(&self, path: &str, headers: &str, body: &str) -> Reply {
        self.say(&post(path, &format!("{}{headers}", bearer()), body.as_bytes())).await
    }

    fn times_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn bearer() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let kind = if headers.to_ascii_lowercase().contains("content-type:") {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{kind}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn read(octets: &[u8]) -> Reply {
        let text = String::from_utf8_lossy(octets).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            dechunk(body)
        } else {
            body.to_owned()
        };
        Reply { status, head: head.to_ascii_lowercase(), body }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The word of a problem document, checked for its form.
    fn reason(&self) -> String {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let document = self.json();
        let reason = document["reason"].as_str().unwrap().to_owned();
        assert_eq!(document["type"], format!("{TYPE}{reason}"));
        assert_eq!(document["status"], self.status);
        assert!(document["title"].is_string());
        reason
    }
}

fn dechunk(body: &str) -> String {
    let (mut text, mut rest) = (String::new(), body);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        text.push_str(&after[..size]);
        rest = &after[(size + 2).min(after.len())..];
    }
    text
}

/// A body that a route takes, a path with its parts filled in, and the query that it needs.
fn example(route: &Route) -> (String, String) {
    let path = route.path.replace("{contract}", "c-1").replace("{user}", "u1");
    let path = path.replace("{serial}", "S-1").replace("{id}", "r1").replace("{request}", "0000000000000001");
    let needed: Vec<String> = route
        .query
        .iter()
        .filter(|parameter| parameter.needed == Needed::Yes)
        .map(|parameter| format!("{}=x", parameter.name))
        .collect();
    let query = if needed.is_empty() { String::new() } else { format!("?{}", needed.join("&")) };
    let body = match route.id {
        "setUp" => r#"{"service_id":"1","user_id":"2","start_password":"1234"}"#,
        "enableContract" => r#"{"service":"kenshin-business"}"#,
        "chooseLoginCode" => r#"{"choice":"required"}"#,
        "issueToken" => r#"{"mail":"u1@example.jp","start_password":"1234"}"#,
        "addUser" => r#"{"user":"u9","password":"p","contract":"c-1","role":"general"}"#,
        "confirmToken" => r#"{"code":"123456"}"#,
        "registerToken" => r#"{"serial":"S-2","code":"123456","password":"p"}"#,
        "exchangeToken" => r#"{"serial":"S-2","old_code":"123456","new_code":"654321"}"#,
        "resyncToken" => r#"{"first":"123456","second":"654321"}"#,
        "importToken" => {
            r#"{"serial":"S-3","key":"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ","algorithm":"sha1","digits":8,"period":60}"#
        }
        _ => "",
    };
    (path + &query, body.to_owned())
}

#[tokio::test]
async fn every_route_asks_its_question_and_the_document_names_them_all() {
    let served = Served::usual().await;
    let document = served.say(get(openapi::PATH, "").as_bytes()).await.json();
    for (at, route) in ROUTES.iter().enumerate() {
        let (path, body) = example(route);
        let (reply, method) = match route.method {
            Method::Get => (served.get(&path).await, "get"),
            Method::Post => (served.post(&path, "", &body).await, "post"),
        };
        assert_eq!(reply.status, 200, "{}: {reply:?}", route.id);
        assert_eq!(served.times_asked(), at + 1, "{}", route.id);
        let operation = &document["paths"][route.path][method];
        assert_eq!(operation["operationId"], route.id);
        assert_eq!(
            operation["requestBody"]["required"].as_bool().unwrap_or_default(),
            route.body_needed == Needed::Yes
        );
    }
    let documented: usize =
        document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(documented, ROUTES.len() + 1, "and nothing else");
    // What the answers are references to is there.
    let text = document.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name} is not there");
    }
    let callers: Vec<String> =
        served.asked.lock().unwrap().iter().map(|(_, caller)| caller.evidence.clone()).collect();
    assert!(callers.iter().skip(1).all(|evidence| evidence == "token:counter-system"), "{callers:?}");
    assert!(callers[0].starts_with("app:127.0.0.1"), "{}", callers[0]);
}

#[tokio::test]
async fn nobody_unknown_gets_past_the_door() {
    let served = Served::usual().await;
    let mut replies = Vec::new();
    for route in ROUTES.iter().filter(|route| route.admission == Admission::Caller) {
        let (path, body) = example(route);
        let headers = ["", "Authorization: Bearer x\r\n", "Authorization: Basic eDp5\r\n"][replies.len() % 3];
        let reply = match route.method {
            Method::Get => served.say(get(&path, headers).as_bytes()).await,
            Method::Post => served.say(&post(&path, headers, body.as_bytes())).await,
        };
        // Whoever tries thirty times in a minute is not listened to any more.
        match replies.len() {
            0..30 => {
                assert_eq!((reply.status, reply.reason().as_str()), (401, "unauthenticated"), "{}", route.id)
            }
            _ => assert_eq!(reply.reason(), "too-many-requests"),
        }
        if replies.len() < 30 {
            assert!(reply.head.contains("www-authenticate: bearer"), "{}", reply.head);
        }
        replies.push(reply.body);
    }
    assert_eq!(served.times_asked(), 0);
    assert!(served.metrics.http_requests.at(crate::metrics::HttpOutcome::Unauthenticated).get() > 10);
    // A change of the callers holds from the next request on.
    served.api.callers.store(Arc::new(Callers::default()));
    assert!([401, 429].contains(&served.get("/v1/status").await.status));
}

#[tokio::test]
async fn bad_input_of_every_kind_is_refused_precisely_and_asks_nothing() {
    let served = Served::usual().await;
    for route in ROUTES {
        let (path, body) = example(route);
        let (join, json) = (if path.contains('?') { "&" } else { "?" }, "Content-Type: application/json\r\n");
        let method = if route.method == Method::Get { "GET" } else { "POST" };
        let send = |path: &str, headers: &str, body: &[u8]| {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\n{}{headers}Content-Length: {}\r\n\r\n",
                bearer(),
                body.len()
            );
            [head.as_bytes(), body].concat()
        };
        let mut cases: Vec<(Vec<u8>, u16, &str)> = vec![
            (send(&format!("{path}{join}planted=1"), json, body.as_bytes()), 400, "query-invalid"),
            (send(&format!("{path}{join}%ff=1"), json, body.as_bytes()), 400, "query-invalid"),
            (send(&path, &format!("{json}Accept: text/html\r\n"), body.as_bytes()), 406, "not-acceptable"),
            (send(&path, json, &vec![b' '; 64 * 1024 + 1]), 413, "body-too-large"),
            (send(&format!("{}/x/y/z", route.path), json, b""), 404, "route-unknown"),
            ([b"PUT ", path.as_bytes(), b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat(), 405, "method-not-allowed"),
        ];
        if route.path.contains('{') {
            let from = route.path.find('{').unwrap();
            let bad =
                format!("{}%ff{}", &route.path[..from], &route.path[route.path.find('}').unwrap() + 1..]);
            cases.push((send(&bad, json, body.as_bytes()), 400, "path-invalid"));
            let empty =
                format!("{}{}", &route.path[..from], &route.path[route.path.find('}').unwrap() + 1..]);
            cases.push((send(&empty, json, body.as_bytes()), 404, "route-unknown"));
        }
        if route.body.is_some() {
            for (bad, why) in [
                (&b"{"[..], "body-invalid"),
                (b"[]", "body-invalid"),
                (b"{\"planted\":1}", "body-invalid"),
                (b"{\"proof\":\xff}", "body-invalid"),
                (b"{\"a\":\"\xff\"}", "body-invalid"),
                (b"null", "body-invalid"),
            ] {
                cases.push((send(&path, json, bad), 400, why));
            }
            cases.push((send(&path, "Content-Type: text/plain\r\n", b"x"), 415, "media-type"));
            cases.push((send(&path, "", b"{}"), 415, "media-type"));
            if route.body_needed == Needed::Yes {
                cases.push((send(&path, json, b""), 400, "body-invalid"));
            }
        } else {
            cases.push((send(&path, json, b"{}"), 400, "body-invalid"));
        }
        if route.method == Method::Get || route.admission == Admission::App {
            cases.push((
                send(&path, &format!("{json}Idempotency-Key: k\r\n"), body.as_bytes()),
                400,
                "idempotency-key-invalid",
            ));
        } else {
            cases.push((
                send(&path, &format!("{json}Idempotency-Key: a b\r\n"), body.as_bytes()),
                400,
                "idempotency-key-invalid",
            ));
            cases.push((
                send(&format!("{path}{join}dry-run=maybe"), json, body.as_bytes()),
                400,
                "query-invalid",
            ));
        }
        for parameter in route.query {
            let twice = format!("{path}{join}{0}=true&{0}=true", parameter.name);
            cases.push((send(&twice, json, body.as_bytes()), 400, "query-invalid"));
            cases.push((
                send(&format!("{path}{join}{}=", parameter.name), json, body.as_bytes()),
                400,
                "query-invalid",
            ));
        }
        for (request, status, reason) in cases {
            let reply = served.say(&request).await;
            let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
            assert_eq!((reply.status, reply.reason().as_str()), (status, reason), "{shown}\n{reply:?}");
        }
    }
    assert_eq!(served.times_asked(), 0, "nothing was asked");
    for limit in ["0", "501", "-1", "x", "99999999999999999999"] {
        let reply = served.get(&format!("/v1/users?limit={limit}")).await;
        assert_eq!(reply.json()["detail"], "limit must be a number from 1 to 500");
    }
    let reply = served.get("/v1/users/u1/explanation").await;
    assert_eq!(reply.json()["detail"], "client is missing");
    // What a body holds is not repeated: it may be a password.
    let reply = served.post("/v1/users/u1/confirm", "", r#"{"code":31415926}"#).await;
    assert_eq!(reply.status, 400);
    assert!(!reply.body.contains("31415926"), "{}", reply.body);
}

#[tokio::test]
async fn s_14_the_setup_hands_out_the_key_as_json_or_pskc_and_tells_no_more() {
    let served = Served::usual().await;
    let setup =
        |password: &str| format!(r#"{{"service_id":"1","user_id":"2","start_password":"{password}"}}"#);
    let say = |headers: &'static str, password: &str| {
        let octets = post("/v1/setup", headers, setup(password).as_bytes());
        let served = &served;
        async move { served.say(&octets).await }
    };
    let reply = say("", "1234").await;
    assert_eq!((reply.status, &reply.json()["serial"]), (200, &"S-1".into()));
    assert!(reply.json()["otpauth"].as_str().unwrap().starts_with("otpauth://totp/"));
    assert!(reply.head.contains("cache-control: no-store"));

    let reply = say("Accept: application/pskc+xml, application/json;q=0.5\r\n", "1234").await;
    assert!(reply.head.contains("content-type: application/pskc+xml"), "{}", reply.head);
    let opening = |password: &str| Opening::Password(Secret::new(password.as_bytes()));
    let tokens = pskc::read(reply.body.as_bytes(), &opening("1234")).whole().unwrap();
    assert_eq!((tokens[0].serial.as_str(), tokens[0].digits.count()), ("S-1", 8));
    assert_eq!(tokens[0].secret, Secret::new(*b"12345678901234567890"));
    assert!(pskc::read(reply.body.as_bytes(), &opening("1235")).whole().is_err());

    // An answer that cannot be given must not cost the key.
    let before = served.times_asked();
    assert_eq!(say("Accept: application/xml\r\n", "1234").await.reason(), "not-acceptable");
    assert_eq!(served.times_asked(), before);
    for kind in [Kind::Proof, Kind::Unknown, Kind::State, Kind::NotAllowed, Kind::Conflict] {
        let told = move |_: &Question| refused("whatever", kind);
        let other = Served::with(per_minute(PLENTY), per_minute(PLENTY), None, told).await;
        let reply = other.say(&post("/v1/setup", "", setup("0000").as_bytes())).await;
        assert_eq!((reply.status, reply.reason().as_str()), (403, "setup-refused"), "{kind:?}");
        assert!(!reply.body.contains("whatever"));
    }
}

#[tokio::test]
async fn refusals_have_the_status_of_their_kind() {
    for (kind, status) in [
        (Kind::Invalid, 400),
        (Kind::Proof, 403),
        (Kind::NotAllowed, 403),
        (Kind::Unknown, 404),
        (Kind::State, 409),
        (Kind::Conflict, 409),
        (Kind::Unavailable, 503),
    ] {
        let tell = move |_: &Question| refused("some-reason", kind);
        let served = Served::with(per_minute(PLENTY), per_minute(PLENTY), None, tell).await;
        let reply = served.post("/v1/tokens/S-1/revoke", "", "").await;
        assert_eq!((reply.status, reply.reason().as_str()), (status, "some-reason"), "{kind:?}");
        assert_eq!(reply.json()["detail"], "because of some-reason");
        assert_eq!(reply.head.contains("retry-after: "), kind == Kind::Unavailable);
    }
}

#[tokio::test]
async fn one_key_is_one_act_also_for_two_clients_at_once() {
    let served = Served::usual().await;
    let revoke =
        || served.post("/v1/tokens/S-1/revoke", "Idempotency-Key: k-1\r\n", r#"{"proof":{"code":"1"}}"#);
    let (one, other) = tokio::join!(revoke(), revoke());
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{one:?} {other:?}");
    let late = if one.status == 409 { &one } else { &other };
    assert_eq!(late.reason(), "idempotency-running");
    assert!(late.head.contains("retry-after: 1"));
    let again = revoke().await;
    assert_eq!((again.status, served.times_asked()), (200, 1), "done once");
    let body =
        served.post("/v1/tokens/S-1/revoke", "Idempotency-Key: k-1\r\n", r#"{"proof":{"code":"2"}}"#).await;
    let path =
        served.post("/v1/tokens/S-2/revoke", "Idempotency-Key: k-1\r\n", r#"{"proof":{"code":"1"}}"#).await;
    let actor = served
        .post(
            "/v1/tokens/S-1/revoke",
            "Idempotency-Key: k-1\r\nSekisho-As: counter:x\r\n",
            r#"{"proof":{"code":"1"}}"#,
        )
        .await;
    for other in [body, path, actor] {
        assert_eq!((other.status, other.reason().as_str()), (422, "idempotency-key-reused"));
    }
    assert_eq!(served.times_asked(), 1);
}

#[tokio::test]
async fn who_hangs_up_does_not_cut_an_act_in_two() {
    let served = Served::usual().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(&post("/v1/tokens/S-1/revoke", &bearer(), b"")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(stream);
    for _ in 0..500 {
        if served.times_asked() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the act was cut off");
}

#[tokio::test]
async fn actor_and_dry_run_reach_the_operations() {
    let served = Served::usual().await;
    let reply = served.post("/v1/tokens/S-1/suspend?dry-run=true", "Sekisho-As: counter:山田\r\n", "").await;
    assert_eq!((reply.status, &reply.json()["done"]), (200, &false.into()));
    let asked = served.asked.lock().unwrap();
    let (question, caller) = &asked[0];
    assert_eq!((question.actor.as_deref(), question.mode), (Some("counter:山田"), Mode::DryRun));
    assert_eq!(caller.name, "counter-system");
}

#[tokio::test]
async fn too_many_requests_wait_and_setups_wait_sooner() {
    let served = Served::with(per_minute(4), per_minute(2), None, usual).await;
    let octets = post("/v1/setup", "", br#"{"service_id":"1","user_id":"2","start_password":"0000"}"#);
    for expected in ["setup-refused", "setup-refused", "too-many-requests"] {
        let reply = served.say(&octets).await;
        assert_eq!(reply.reason(), expected);
        assert_eq!(reply.head.contains("retry-after: "), expected == "too-many-requests", "{}", reply.head);
    }
    assert_eq!(served.get("/v1/status").await.status, 200);
    assert_eq!(
        served.get("/v1/status").await.status,
        429,
        "five requests of one source in a minute that has four"
    );
    assert_eq!(served.metrics.http_requests.at(crate::metrics::HttpOutcome::Limited).get(), 2);
}

struct Identity {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Identity {
    fn new() -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Identity { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn authority(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    fn leaf(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        (vec![certificate.der().clone()], key)
    }

    fn server(&self, name: &str, callers: &Identity) -> Arc<ServerConfig> {
        let (chain, key) = self.leaf(name);
        tls::config(chain, key, Some(vec![callers.authority()])).unwrap()
    }
}

async fn over_tls(
    served: &Served,
    trusts: &Identity,
    shows: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    octets: &[u8],
) -> io::Result<Reply> {
    let mut roots = RootCertStore::empty();
    roots.add(trusts.authority()).unwrap();
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
    let config = match shows {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    let stream = TcpStream::connect(served.address).await?;
    let name = ServerName::try_from("otp.example.jp").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(octets).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    Ok(Reply::read(&reply))
}

#[tokio::test]
async fn certificates_open_the_door_over_tls_and_a_reload_changes_ours() {
    let (ours, theirs, strangers) = (Identity::new(), Identity::new(), Identity::new());
    let config = ours.server("otp.example.jp", &theirs);
    let served = Served::with(per_minute(PLENTY), per_minute(PLENTY), Some(config), usual).await;
    let status = get("/v1/status", "");
    let ask = |shows| over_tls(&served, &ours, shows, status.as_bytes());
    assert_eq!(ask(Some(theirs.leaf("branch.example.jp"))).await.unwrap().status, 200);
    assert_eq!(served.asked.lock().unwrap()[0].1.evidence, "certificate:branch-system");
    assert_eq!(ask(Some(theirs.leaf("other.example.jp"))).await.unwrap().status, 401, "a name nobody knows");
    assert_eq!(ask(None).await.unwrap().status, 401, "no certificate");
    // An authority that is not ours ends the connection, in the handshake or with the first octet.
    let foreign = ask(Some(strangers.leaf("branch.example.jp"))).await;
    assert!(foreign.is_err() || foreign.is_ok_and(|reply| reply.status == 0));
    let with_token = get("/v1/status", &bearer());
    assert_eq!(over_tls(&served, &ours, None, with_token.as_bytes()).await.unwrap().status, 200);
    // Who speaks no TLS gets nothing.
    assert_eq!(served.get("/v1/status").await.status, 0);
    let setup = post("/v1/setup", "", br#"{"service_id":"1","user_id":"2","start_password":"1234"}"#);
    assert_eq!(over_tls(&served, &ours, None, &setup).await.unwrap().status, 200, "an app shows neither");

    let renewed = Identity::new();
    served.tls.store(Some(renewed.server("otp.example.jp", &theirs)));
    assert!(
        over_tls(&served, &ours, None, status.as_bytes()).await.is_err(),
        "the old authority is not ours any more"
    );
    assert_eq!(over_tls(&served, &renewed, None, with_token.as_bytes()).await.unwrap().status, 200);
    use crate::metrics::Attempt;
    assert!(served.metrics.http_tls_handshakes.at(Attempt::Failed).get() >= 2);
    assert!(served.metrics.http_tls_handshakes.at(Attempt::Succeeded).get() >= 5);
}

#[tokio::test]
async fn a_slow_handshake_holds_up_nobody() {
    let (ours, theirs) = (Identity::new(), Identity::new());
    let config = ours.server("otp.example.jp", &theirs);
    let served = Served::with(per_minute(PLENTY), per_minute(PLENTY), Some(config), usual).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    let request = get("/v1/status", &bearer());
    let begun = crate::clock::now().mono;
    assert_eq!(over_tls(&served, &ours, None, request.as_bytes()).await.unwrap().status, 200);
    assert!(crate::clock::now().mono.since(begun) < Duration::from_secs(5));
}

#[test]
fn the_document_of_the_api_lists_every_problem() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md");
    let document = std::fs::read_to_string(path).expect("docs/api.md");
    for (word, status, _) in Problem::ALL {
        let row = format!("| `{word}` | {status} |");
        assert!(document.contains(&row), "{row} is not in docs/api.md");
    }
    for route in ROUTES {
        let method = if route.method == Method::Get { "GET" } else { "POST" };
        let row = format!("| `{method} {}` |", route.path);
        assert!(document.contains(&row), "{row} is not in docs/api.md");
    }
}
