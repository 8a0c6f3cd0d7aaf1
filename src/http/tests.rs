//! The endpoints over raw TCP, and what a bad peer gets.

mod api;

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

struct Server {
    address: SocketAddr,
    ill: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), Error>>,
}

impl Server {
    async fn start() -> Server {
        Server::within(LIMITS).await
    }

    async fn within(limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ill = Arc::new(AtomicBool::new(false));
        let findings = |ill: &Arc<AtomicBool>, found: &'static [&'static str]| {
            let ill = Arc::clone(ill);
            move || match ill.load(Ordering::Relaxed) {
                true => found.iter().map(|&line| line.to_owned()).collect(),
                false => Vec::new(),
            }
        };
        let missing = findings(&ill, &["directory: no complete map yet", "clock: \"off\"\nby a day"]);
        let stuck = findings(&ill, &["worker 2: no turn for 31 s"]);
        let state = State {
            metrics: Arc::new(Metrics::new().unwrap()),
            readiness: Arc::new(move || Readiness { missing: missing() }),
            health: Arc::new(move || Health { stuck: stuck() }),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let metrics = Arc::clone(&state.metrics);
        let door = Door { listener, tls: Arc::default(), cleartext: Cleartext::LoopbackOnly };
        let task = tokio::spawn(serve_within(limits, door, metrics, monitoring(state), async {
            let _ = stopped.await;
        }));
        Server { address, ill, stop, task }
    }

    /// Sends the octets and reads until the server closes.
    async fn say(&self, octets: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(octets.as_bytes()).await.unwrap();
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply).await;
        reply
    }

    async fn fetch(&self, path: &str, headers: &str) -> String {
        self.say(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).await
    }
}

fn body(reply: &str) -> &str {
    reply.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn metrics_are_text_and_end_the_connection() {
    let server = Server::start().await;
    let reply = server.fetch("/metrics", "").await;
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    for header in ["content-type: text/plain; version=0.0.4", "connection: close", "cache-control: no-store"]
    {
        assert!(reply.contains(&format!("\r\n{header}")), "{header} is missing in {reply}");
    }
    assert!(body(&reply).contains("\nsekisho_in_flight 0\n"));
}

#[tokio::test]
async fn health_and_readiness_say_what_is_wrong() {
    let server = Server::start().await;
    let json = "Accept: text/html;q=0.1, Application/JSON;q=0.9\r\n";
    let cases = [
        (false, "/readyz", "", "200", "ready\n"),
        (false, "/healthz", "", "200", "healthy\n"),
        (false, "/readyz", json, "200", r#"{"missing":[],"ready":true}"#),
        (true, "/readyz", "", "503", "directory: no complete map yet\nclock: \"off\" by a day\n"),
        (true, "/healthz", "", "503", "worker 2: no turn for 31 s\n"),
        (true, "/healthz", json, "503", r#"{"healthy":false,"stuck":["worker 2: no turn for 31 s"]}"#),
    ];
    for (ill, path, headers, status, expected) in cases {
        server.ill.store(ill, Ordering::Relaxed);
        let reply = server.fetch(path, headers).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {reply}");
        assert_eq!(body(&reply), expected, "{path}");
    }
}

#[tokio::test]
async fn strange_requests_get_an_error_and_nothing_more() {
    let server = Server::start().await;
    let long = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", "405"),
        ("GET /metrics/../readyz HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("\x16\x03\x01\r\n\r\n", "400"),
        (&long, "431"),
        (&many, "431"),
    ] {
        let reply = server.say(request).await;
        let start: String = request.chars().take(30).collect();
        assert!(
            reply.is_empty() || reply.starts_with(&format!("HTTP/1.1 {status} ")),
            "{start:?}: {reply:.200}"
        );
    }
    assert!(server.fetch("/healthz", "").await.ends_with("healthy\n"), "goes on");
}

#[tokio::test]
async fn silent_and_slow_peers_free_their_places() {
    let limits = Limits { connections: 4, patience: Duration::from_millis(100) };
    let server = Server::within(limits).await;
    // As many as are served at once, some silent and some in the middle of a header.
    let mut idle = Vec::new();
    for number in 0..limits.connections {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:").await.unwrap();
        }
        idle.push(stream);
    }
    let reply = server.fetch("/healthz", "").await;
    assert!(reply.ends_with("healthy\n"), "{reply}");
    for stream in &mut idle {
        let mut rest = Vec::new();
        let closed = stream.read_to_end(&mut rest).await;
        assert!(closed.is_err() || rest.is_empty(), "closed without a word");
    }
}

#[tokio::test]
async fn sec_21_a_stop_ends_the_server() {
    let server = Server::start().await;
    server.stop.send(()).unwrap();
    assert!(server.task.await.unwrap().is_ok());
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn sec_22_only_loopback_is_served() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let door = Door { listener, tls: Arc::default(), cleartext: Cleartext::LoopbackOnly };
    let metrics = Arc::new(Metrics::new().unwrap());
    let refused = serve(door, metrics, Router::new(), std::future::pending()).await.unwrap_err();
    assert!(matches!(refused, Error::NotLoopback(address) if address.ip().is_unspecified()));
    assert!(refused.to_string().contains("listen on 127.0.0.1"));
}
