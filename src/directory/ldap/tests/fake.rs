//! A server on loopback that answers what a test wants.

use crate::directory::ldap::ber::{self, INTEGER, Reader, SEQUENCE, Writer};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub const BIND_REQUEST: u8 = 0x60;
pub const BIND_RESPONSE: u8 = 0x61;
pub const SEARCH_REQUEST: u8 = 0x63;
pub const SEARCH_ENTRY: u8 = 0x64;
pub const SEARCH_DONE: u8 = 0x65;
pub const SEARCH_REFERENCE: u8 = 0x73;
pub const EXTENDED_REQUEST: u8 = 0x77;
pub const EXTENDED_RESPONSE: u8 = 0x78;
pub const INTERMEDIATE_RESPONSE: u8 = 0x79;

/// ExtendedResponse, id 1, success.
pub const STARTTLS_YES: &[u8] = &[0x30, 0x0c, 2, 1, 1, 0x78, 7, 10, 1, 0, 4, 0, 4, 0];

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: u32,
    pub tag: u8,
    /// The whole message.
    pub octets: Vec<u8>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

/// Listens until the test ends.
pub struct Fake {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    /// Every request is answered with the octets that `answer` gives.
    pub fn start(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, noted) = (Arc::new(answer), Arc::clone(&requests));
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
                std::thread::spawn(move || serve(stream.unwrap(), connection, &*answer, &noted));
            }
        });
        Fake { port, requests }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    connection: usize,
    answer: &dyn Fn(&Request) -> Vec<u8>,
    noted: &Mutex<Vec<Request>>,
) {
    let mut arrived = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        arrived.extend_from_slice(&chunk[..count]);
        while let Ok(Some((header, length))) = ber::header(&arrived) {
            if arrived.len() < header + length {
                break;
            }
            let octets: Vec<u8> = arrived.drain(..header + length).collect();
            let Ok(mut message) = Reader::new(&octets).inside(SEQUENCE) else { return };
            let id = message.number(INTEGER).unwrap();
            let (tag, _) = message.element().unwrap();
            let request = Request { id, tag, octets: octets.clone(), connection };
            noted.lock().unwrap().push(request.clone());
            if stream.write_all(&answer(&request)).is_err() {
                return;
            }
        }
    }
}

/// Whether it is the question where the schema is.
pub fn is_about_schema(request: &Request) -> bool {
    request.octets.windows(17).any(|window| window == b"subschemaSubentry")
}

/// A message with this operation, and controls if any.
pub fn message(id: u32, tag: u8, content: &[u8], controls: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.within(SEQUENCE, |message| {
        message.number(INTEGER, id).put(tag, content);
        if !controls.is_empty() {
            message.within(0xa0, |list| {
                for (oid, value) in controls {
                    list.within(SEQUENCE, |control| {
                        control.put(ber::OCTET_STRING, oid.as_bytes()).put(ber::OCTET_STRING, value);
                    });
                }
            });
        }
    });
    writer.octets().to_vec()
}

/// A message that ends an operation with this result code.
pub fn result(id: u32, tag: u8, code: u32) -> Vec<u8> {
    let mut content = Writer::new();
    content.number(ber::ENUMERATED, code).put(ber::OCTET_STRING, b"").put(ber::OCTET_STRING, b"");
    message(id, tag, content.octets(), &[])
}

/// A server that says yes to everything that is not about users.
pub fn polite(request: &Request) -> Vec<u8> {
    match request.tag {
        BIND_REQUEST => result(request.id, BIND_RESPONSE, 0),
        SEARCH_REQUEST => result(request.id, SEARCH_DONE, 0),
        EXTENDED_REQUEST => result(request.id, EXTENDED_RESPONSE, 0),
        _ => Vec::new(),
    }
}

/// Whether this is a bind of a user, not of the service identity.
pub fn is_users_bind(request: &Request) -> bool {
    request.tag == BIND_REQUEST && request.octets.windows(4).any(|window| window == b"uid=")
}

/// An entry with these attributes, one value each.
pub fn entry(id: u32, dn: &str, attributes: &[(&str, &[u8])], controls: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut content = Writer::new();
    content.put(ber::OCTET_STRING, dn.as_bytes()).within(SEQUENCE, |list| {
        for (name, value) in attributes {
            list.within(SEQUENCE, |attribute| {
                attribute.put(ber::OCTET_STRING, name.as_bytes()).within(ber::SET, |set| {
                    set.put(ber::OCTET_STRING, value);
                });
            });
        }
    });
    message(id, SEARCH_ENTRY, content.octets(), controls)
}
