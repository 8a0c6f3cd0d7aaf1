//! Reads a container: what protects the keys first, then one package after the other.

use super::seal::{cipher_of, decrypt, derive, verify_and_open};
use super::{CIPHERS, DS, HMAC_SHA1, Opening, PBKDF2, PSKC, PskcProblem, ROUNDS_MAX, ROUNDS_MIN, XENC};
use crate::clock::Wall;
use crate::formats::{
    Described, Gathering, Onward, Place, Problem, Reading, TOKENS_MAX, number, serial, text, time, user,
};
use crate::identity::TokenSerial;
use crate::otp::uri::KeyMoving;
use crate::otp::{Algorithm, Digits, Period, check_secret};
use crate::secret::Secret;
use data_encoding::BASE64;
use roxmltree::{Document, Node, ParsingOptions};
use std::fmt::Write as _;
use std::time::Duration;
use zeroize::Zeroizing;

/// Nodes of a document: elements and texts. A package of the RFC's figures has about fifty.
const NODES_MAX: u32 = 64 * 20_000;

/// Reads a PSKC document, and opens what is encrypted in it.
pub fn read(octets: &[u8], opening: &Opening) -> Reading {
    match text(octets).and_then(|text| document(text, opening)) {
        Ok(reading) => reading,
        Err(why) => Reading::refused(why),
    }
}

fn document(text: &str, opening: &Opening) -> Result<Reading, Problem> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::DtdDetected => PskcProblem::DocumentType,
        error => PskcProblem::Xml(shown(&error.to_string())),
    })?;
    let root = document.root_element();
    if !root.has_tag_name((PSKC, "KeyContainer")) {
        return Err(PskcProblem::Container.into());
    }
    if root.attribute("Version").and_then(|version| version.split('.').next()) != Some("1") {
        return Err(PskcProblem::Version.into());
    }
    if child(root, DS, "Signature").is_some() {
        return Err(PskcProblem::Signed.into());
    }
    let lines = Lines::of(text);
    let protection = Protection::read(root, opening);
    let mut gathering = Gathering::default();
    let packages = root.children().filter(|node| node.has_tag_name((PSKC, "KeyPackage")));
    for (package, index) in packages.zip(1..=TOKENS_MAX.saturating_add(1)) {
        let record = Package { node: package, index, lines: &lines }.read(&protection);
        let (place, record) = match record {
            Ok(token) => (token.place.clone(), Ok(token)),
            Err((place, why)) => (place, Err(why)),
        };
        if gathering.add(place, record) == Onward::Stop {
            break;
        }
    }
    Ok(gathering.finish())
}

/// What opens encrypted values, or why they cannot be opened: keys in clear can be read nevertheless.
enum Protection {
    None,
    Keys { key: Secret, mac_key: Secret },
    Unusable(PskcProblem),
}

impl Protection {
    fn read(root: Node<'_, '_>, opening: &Opening) -> Protection {
        let Some(described) = child(root, PSKC, "EncryptionKey") else { return Protection::None };
        let keys = encryption_key(described, opening).and_then(|key| {
            let mac_key = mac_key(root, &key)?;
            Ok(Protection::Keys { key, mac_key })
        });
        keys.unwrap_or_else(Protection::Unusable)
    }
}

/// The key that the container's values are encrypted under.
fn encryption_key(described: Node<'_, '_>, opening: &Opening) -> Result<Secret, PskcProblem> {
    if let Some(name) = child(described, DS, "KeyName") {
        return match opening {
            Opening::PreShared(key) if cipher_of(key).is_some() => Ok(key.duplicate()),
            Opening::PreShared(_) => Err(PskcProblem::PreSharedKeyLength),
            Opening::Nothing | Opening::Password(_) => {
                Err(PskcProblem::PreSharedKeyNeeded(shown(content(name))))
            }
        };
    }
    // The RFC's own figure has DerivedKey in the namespace of XML Encryption 1.1, some files in that of PSKC.
    let derived = named(described, "DerivedKey").ok_or(PskcProblem::EncryptionKey)?;
    let method = named(derived, "KeyDerivationMethod").ok_or(PskcProblem::EncryptionKey)?;
    let algorithm = method.attribute("Algorithm").unwrap_or_default();
    if !PBKDF2.contains(&algorithm) {
        return Err(PskcProblem::Derivation(shown(algorithm)));
    }
    let Opening::Password(password) = opening else { return Err(PskcProblem::PasswordNeeded) };
    let parameters = named(method, "PBKDF2-params").ok_or(PskcProblem::EncryptionKey)?;
    let salt = named(parameters, "Salt")
        .and_then(|salt| named(salt, "Specified"))
        .and_then(|salt| base64(content(salt)))
        .filter(|salt| (8..=64).contains(&salt.len()))
        .ok_or(PskcProblem::Salt)?;
    let rounds = named(parameters, "IterationCount")
        .and_then(|rounds| number(content(rounds)))
        .filter(|rounds| (ROUNDS_MIN..=ROUNDS_MAX).contains(rounds))
        .and_then(|rounds| u32::try_from(rounds).ok())
        .ok_or(PskcProblem::Rounds)?;
    let octets = match named(parameters, "KeyLength").map(content) {
        None | Some("16") => 16,
        Some("24") => 24,
        Some("32") => 32,
        Some(_) => return Err(PskcProblem::KeyLength),
    };
    if let Some(function) = named(parameters, "PRF") {
        // Empty, or HMAC-SHA1 by its object identifier or name (RFC 2898 §A.2).
        let said = function.attribute("Algorithm").unwrap_or_else(|| content(function));
        if !["", "1.2.840.113549.2.7", HMAC_SHA1].contains(&said) {
            return Err(PskcProblem::Function(shown(said)));
        }
    }
    Ok(derive(password, &salt, rounds, octets))
}

/// The key of the MACs, which itself is only encrypted: that it is right shows when a value's MAC is.
fn mac_key(root: Node<'_, '_>, key: &Secret) -> Result<Secret, PskcProblem> {
    let method = child(root, PSKC, "MACMethod").ok_or(PskcProblem::MacMethodMissing)?;
    let algorithm = method.attribute("Algorithm").unwrap_or_default();
    if algorithm != HMAC_SHA1 {
        return Err(PskcProblem::MacAlgorithm(shown(algorithm)));
    }
    let encrypted = child(method, PSKC, "MACKey").ok_or(PskcProblem::MacKey)?;
    let mac_key = decrypt(key, &ciphertext(encrypted, key)?).map_err(|_| PskcProblem::MacKey)?;
    if mac_key.is_empty() { Err(PskcProblem::MacKey) } else { Ok(mac_key) }
}

/// The octets of a value that is encrypted under this key.
fn ciphertext(value: Node<'_, '_>, key: &Secret) -> Result<Vec<u8>, PskcProblem> {
    let cipher = child(value, XENC, "EncryptionMethod").and_then(|method| method.attribute("Algorithm"));
    let cipher = cipher.unwrap_or_default();
    if !CIPHERS.iter().any(|(_, known)| *known == cipher) {
        return Err(PskcProblem::Cipher(shown(cipher)));
    }
    if cipher_of(key) != Some(cipher) {
        return Err(PskcProblem::CipherKey(shown(cipher)));
    }
    child(value, XENC, "CipherData")
        .and_then(|data| child(data, XENC, "CipherValue"))
        .and_then(|value| base64(content(value)))
        .ok_or(PskcProblem::CipherValue)
}

/// One package, and what is needed to say where in it something is wrong.
struct Package<'a, 'd> {
    node: Node<'a, 'd>,
    index: usize,
    lines: &'a Lines,
}

/// A problem and its place.
type Misplaced = (Place, Problem);

impl<'a, 'd> Package<'a, 'd> {
    fn read(&self, protection: &Protection) -> Result<Described, Misplaced> {
        let mut keys = self.node.children().filter(|node| node.has_tag_name((PSKC, "Key")));
        let (Some(key), None) = (keys.next(), keys.next()) else {
            return Err(self.at(self.node, PskcProblem::Keys));
        };
        let device = child(self.node, PSKC, "DeviceInfo");
        let serial = self.serial(key, device)?;
        let kind = key.attribute("Algorithm").unwrap_or_default();
        let is_time = match kind.strip_prefix(PSKC).and_then(|kind| kind.strip_prefix([':', '#'])) {
            Some("totp") => true,
            Some("hotp") => false,
            _ => return Err(self.at(key, PskcProblem::Algorithm(shown(kind)))),
        };
        let (algorithm, digits) = self.parameters(key)?;
        let data = child(key, PSKC, "Data").ok_or_else(|| self.at(key, PskcProblem::SecretMissing))?;
        let secret = self.secret(data, protection)?;
        let moving = if is_time { self.time_moving(data)? } else { self.counter_moving(key, data)? };
        let (mut begins, mut ends) = self.policy(key)?;
        if let Some(device) = device {
            begins = begins.max(self.date(device, "StartDate")?);
            ends = earlier(ends, self.end_date(device)?);
        }
        Ok(Described {
            place: self.place(self.node),
            serial,
            secret,
            algorithm,
            digits,
            moving,
            begins,
            ends,
            user: self.user(key, device)?,
        })
    }

    fn serial(&self, key: Node<'a, 'd>, device: Option<Node<'a, 'd>>) -> Result<TokenSerial, Misplaced> {
        let element = device.and_then(|device| child(device, PSKC, "SerialNo"));
        let (node, text) = match element {
            Some(element) => (element, content(element)),
            None => (key, key.attribute("Id").unwrap_or_default()),
        };
        serial(text.trim()).map_err(|why| self.misplaced(node, why))
    }

    /// Hash and digits.
    fn parameters(&self, key: Node<'a, 'd>) -> Result<(Algorithm, Digits), Misplaced> {
        let Some(parameters) = child(key, PSKC, "AlgorithmParameters") else {
            return Err(self.at(key, PskcProblem::ResponseFormat));
        };
        let mut algorithm = Algorithm::Sha1;
        let mut digits = None;
        for node in parameters.children().filter(Node::is_element) {
            match node.tag_name().name() {
                "Suite" => {
                    let said = content(node);
                    let bare = said.to_ascii_lowercase();
                    let bare = bare.strip_prefix("hmac-").unwrap_or(&bare);
                    // Some writers leave an empty element where the default is meant.
                    if !bare.is_empty() {
                        algorithm = Algorithm::parse(bare)
                            .map_err(|_| self.at(node, PskcProblem::Suite(shown(said))))?;
                    }
                }
                "ResponseFormat" => {
                    // The RFC's text says Format where its schema says Encoding.
                    let encoding = node.attribute("Encoding").or_else(|| node.attribute("Format"));
                    let length = node.attribute("Length").and_then(number);
                    let (Some("DECIMAL"), Some(length)) = (encoding, length) else {
                        return Err(self.at(node, PskcProblem::ResponseFormat));
                    };
                    if !matches!(node.attribute("CheckDigits"), None | Some("false" | "0")) {
                        return Err(self.at(node, PskcProblem::Parameter("CheckDigits".into())));
                    }
                    digits = Some(Digits::new(length).map_err(|why| self.misplaced(node, why.into()))?);
                }
                other => return Err(self.at(node, PskcProblem::Parameter(shown(other)))),
            }
        }
        let digits = digits.ok_or_else(|| self.at(parameters, PskcProblem::ResponseFormat))?;
        Ok((algorithm, digits))
    }

    fn secret(&self, data: Node<'a, 'd>, protection: &Protection) -> Result<Secret, Misplaced> {
        let Some(node) = child(data, PSKC, "Secret") else {
            return Err(self.at(data, PskcProblem::SecretMissing));
        };
        let secret = match (child(node, PSKC, "PlainValue"), child(node, PSKC, "EncryptedValue")) {
            (Some(plain), None) => {
                let octets = base64(content(plain)).ok_or_else(|| self.at(plain, PskcProblem::Secret))?;
                Secret::new(octets)
            }
            (None, Some(value)) => self.opened(node, value, protection)?,
            _ => return Err(self.at(node, PskcProblem::SecretMissing)),
        };
        check_secret(secret.expose()).map_err(|why| self.misplaced(node, why.into()))?;
        Ok(secret)
    }

    fn opened(
        &self,
        node: Node<'a, 'd>,
        value: Node<'a, 'd>,
        protection: &Protection,
    ) -> Result<Secret, Misplaced> {
        let (key, mac_key) = match protection {
            Protection::Keys { key, mac_key } => (key, mac_key),
            Protection::Unusable(why) => return Err(self.at(value, why.clone())),
            Protection::None => return Err(self.at(value, PskcProblem::EncryptionKey)),
        };
        let ciphertext = ciphertext(value, key).map_err(|why| self.at(value, why))?;
        let Some(mac) = child(node, PSKC, "ValueMAC") else {
            return Err(self.at(node, PskcProblem::MacMissing));
        };
        let value_mac = base64(content(mac)).unwrap_or_default();
        verify_and_open(key, mac_key, &ciphertext, &value_mac).map_err(|why| self.at(mac, why))
    }

    fn time_moving(&self, data: Node<'a, 'd>) -> Result<KeyMoving, Misplaced> {
        // TimeDrift is not taken over: the drift is learned anew with the first codes.
        if let Some((node, start)) = self.value(data, "Time")?
            && start != 0
        {
            return Err(self.at(node, PskcProblem::Epoch));
        }
        let (node, seconds) = self.value(data, "TimeInterval")?.unwrap_or((data, 30));
        let period = Period::from_seconds(seconds).map_err(|why| self.misplaced(node, why.into()))?;
        Ok(KeyMoving::Time { period })
    }

    fn counter_moving(&self, key: Node<'a, 'd>, data: Node<'a, 'd>) -> Result<KeyMoving, Misplaced> {
        match self.value(data, "Counter")? {
            Some((_, next)) => Ok(KeyMoving::Counter { next }),
            None => Err(self.at(key, PskcProblem::CounterMissing)),
        }
    }

    /// A number in clear.
    fn value(&self, data: Node<'a, 'd>, name: &str) -> Result<Option<(Node<'a, 'd>, u64)>, Misplaced> {
        let Some(node) = child(data, PSKC, name) else { return Ok(None) };
        let number = child(node, PSKC, "PlainValue").and_then(|plain| number(content(plain).trim()));
        let number = number.ok_or_else(|| self.at(node, PskcProblem::Number))?;
        Ok(Some((node, number)))
    }

    /// When the key may be used. Everything else in a policy forbids it (RFC 6030 §5): we would not keep to it.
    fn policy(&self, key: Node<'a, 'd>) -> Result<(Option<Wall>, Option<Wall>), Misplaced> {
        let Some(policy) = child(key, PSKC, "Policy") else { return Ok((None, None)) };
        let mut usages = Vec::new();
        for node in policy.children().filter(Node::is_element) {
            match node.tag_name().name() {
                "StartDate" | "ExpiryDate" if node.tag_name().namespace() == Some(PSKC) => {}
                "KeyUsage" => usages.push(content(node)),
                other => return Err(self.at(node, PskcProblem::Policy(shown(other)))),
            }
        }
        if !usages.is_empty() && !usages.contains(&"OTP") {
            return Err(self.at(policy, PskcProblem::Usage));
        }
        Ok((self.date(policy, "StartDate")?, self.end_date(policy)?))
    }

    fn date(&self, within: Node<'a, 'd>, name: &str) -> Result<Option<Wall>, Misplaced> {
        let Some(node) = child(within, PSKC, name) else { return Ok(None) };
        let date = time(content(node).trim()).ok_or_else(|| self.at(node, PskcProblem::Time))?;
        Ok(Some(date))
    }

    /// The first moment after the date, which itself belongs to the token's life.
    fn end_date(&self, within: Node<'a, 'd>) -> Result<Option<Wall>, Misplaced> {
        Ok(self.date(within, "ExpiryDate")?.map(|date| date.plus(Duration::from_secs(1))))
    }

    /// The user: the value of the first part of a distinguished name, or the text itself.
    fn user(&self, key: Node<'a, 'd>, device: Option<Node<'a, 'd>>) -> Result<Option<Box<str>>, Misplaced> {
        let element = child(key, PSKC, "UserId").or_else(|| child(device?, PSKC, "UserId"));
        let Some(node) = element else { return Ok(None) };
        let text = content(node).trim();
        let name = match text.split_once('=') {
            Some((attribute, rest)) if attribute.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') => {
                first_value(rest)
            }
            _ => text.to_owned(),
        };
        user(&name).map_err(|why| self.misplaced(node, why))
    }

    fn at(&self, node: Node<'a, 'd>, why: PskcProblem) -> Misplaced {
        self.misplaced(node, why.into())
    }

    fn misplaced(&self, node: Node<'a, 'd>, why: Problem) -> Misplaced {
        (self.place(node), why)
    }

    /// Line and way from the package to the element.
    fn place(&self, node: Node<'a, 'd>) -> Place {
        let way: Vec<&str> = node
            .ancestors()
            .take_while(|&ancestor| ancestor != self.node)
            .filter(Node::is_element)
            .map(|element| element.tag_name().name())
            .collect();
        let mut path = format!("KeyPackage[{}]", self.index);
        for name in way.into_iter().rev().take(8) {
            // Writing to a String cannot fail.
            let _ = write!(path, "/{}", shown(name));
        }
        Place::Element { line: self.lines.at(node.range().start), path: path.into() }
    }
}

/// Where each line begins.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Lines {
        Lines(text.bytes().zip(0..).filter(|&(octet, _)| octet == b'\n').map(|(_, at)| at).collect())
    }

    /// The line of an octet, counted from 1.
    fn at(&self, octet: usize) -> usize {
        self.0.partition_point(|&end| end < octet).saturating_add(1)
    }
}

fn earlier(a: Option<Wall>, b: Option<Wall>) -> Option<Wall> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn child<'a, 'd>(node: Node<'a, 'd>, namespace: &str, name: &str) -> Option<Node<'a, 'd>> {
    node.children().find(|child| child.has_tag_name((namespace, name)))
}

/// A child by its name alone: the RFC's figures and the files of vendors do not agree on its namespace.
fn named<'a, 'd>(node: Node<'a, 'd>, name: &str) -> Option<Node<'a, 'd>> {
    node.children().find(|child| child.is_element() && child.tag_name().name() == name)
}

/// The text in an element, without the blanks around it.
fn content<'a>(node: Node<'a, '_>) -> &'a str {
    node.text().unwrap_or_default().trim()
}

/// What a file says, short enough for a message.
fn shown(text: &str) -> Box<str> {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// Base64 with blanks and line breaks in it.
fn base64(text: &str) -> Option<Vec<u8>> {
    let letters: Zeroizing<Vec<u8>> =
        Zeroizing::new(text.bytes().filter(|b| !b.is_ascii_whitespace()).collect());
    if letters.is_empty() { None } else { BASE64.decode(&letters).ok() }
}

/// The value up to an unescaped comma or plus sign (RFC 4514 §2.4), its backslashes undone.
fn first_value(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ',' | '+' => break,
            '\\' => value.extend(rest.next()),
            c => value.push(c),
        }
    }
    value
}
