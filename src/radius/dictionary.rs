//! Numbers and names of packets and attributes, and the attribute names that configuration uses.

use crate::radius::packet::{Packet, VALUE_OCTETS_MAX, VendorAttribute};
use arrayvec::ArrayString;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;
use std::str::FromStr;
use thiserror::Error;

/// Codes of packets (RFC 2865 §4, RFC 5997 §4).
pub mod code {
    /// Asks whether someone may log in.
    pub const ACCESS_REQUEST: u8 = 1;
    /// Yes.
    pub const ACCESS_ACCEPT: u8 = 2;
    /// No.
    pub const ACCESS_REJECT: u8 = 3;
    /// More is asked for.
    pub const ACCESS_CHALLENGE: u8 = 11;
    /// Asks whether the server is alive.
    pub const STATUS_SERVER: u8 = 12;
}

/// How the value of an attribute is to be read (RFC 8044 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// UTF-8 text; what is not UTF-8 is kept as octets.
    Text,
    /// Octets without further meaning.
    Octets,
    /// Four octets, big endian; also `enum`, and `time` as seconds since 1970.
    Integer,
    /// An IPv4 address.
    Ipv4Address,
    /// An IPv6 address.
    Ipv6Address,
    /// An IPv6 prefix: a reserved octet, the length in bits, up to 16 octets.
    Ipv6Prefix,
    /// Eight octets that identify an interface.
    InterfaceId,
    /// A password, or what stands for one: never compared, never shown.
    Credential,
    /// Octets that belong to the protocol and mean nothing to anybody else.
    Protocol,
}

macro_rules! attributes {
    ($($number:literal $constant:ident $name:literal $type:ident;)*) => {
        /// Types of attributes that requests and our replies carry, in RFC spelling (RFC 2865, 2866, 2868, 2869, 3162,
        /// 3579, 4372, 5580, 6911, 6929).
        pub mod attribute {
            $(#[doc = $name] pub const $constant: u8 = $number;)*
        }

        /// Numbers, names and types of all of them.
        pub(super) const ATTRIBUTES: &[(u8, &str, DataType)] = &[$(($number, $name, DataType::$type)),*];
    };
}

attributes! {
    1 USER_NAME "User-Name" Text;
    2 USER_PASSWORD "User-Password" Credential;
    3 CHAP_PASSWORD "CHAP-Password" Credential;
    4 NAS_IP_ADDRESS "NAS-IP-Address" Ipv4Address;
    5 NAS_PORT "NAS-Port" Integer;
    6 SERVICE_TYPE "Service-Type" Integer;
    7 FRAMED_PROTOCOL "Framed-Protocol" Integer;
    8 FRAMED_IP_ADDRESS "Framed-IP-Address" Ipv4Address;
    9 FRAMED_IP_NETMASK "Framed-IP-Netmask" Ipv4Address;
    11 FILTER_ID "Filter-Id" Text;
    12 FRAMED_MTU "Framed-MTU" Integer;
    14 LOGIN_IP_HOST "Login-IP-Host" Ipv4Address;
    15 LOGIN_SERVICE "Login-Service" Integer;
    16 LOGIN_TCP_PORT "Login-TCP-Port" Integer;
    18 REPLY_MESSAGE "Reply-Message" Text;
    19 CALLBACK_NUMBER "Callback-Number" Text;
    24 STATE "State" Protocol;
    25 CLASS "Class" Octets;
    26 VENDOR_SPECIFIC "Vendor-Specific" Protocol;
    27 SESSION_TIMEOUT "Session-Timeout" Integer;
    28 IDLE_TIMEOUT "Idle-Timeout" Integer;
    30 CALLED_STATION_ID "Called-Station-Id" Text;
    31 CALLING_STATION_ID "Calling-Station-Id" Text;
    32 NAS_IDENTIFIER "NAS-Identifier" Text;
    33 PROXY_STATE "Proxy-State" Protocol;
    34 LOGIN_LAT_SERVICE "Login-LAT-Service" Text;
    35 LOGIN_LAT_NODE "Login-LAT-Node" Text;
    36 LOGIN_LAT_GROUP "Login-LAT-Group" Octets;
    44 ACCT_SESSION_ID "Acct-Session-Id" Text;
    50 ACCT_MULTI_SESSION_ID "Acct-Multi-Session-Id" Text;
    55 EVENT_TIMESTAMP "Event-Timestamp" Integer;
    60 CHAP_CHALLENGE "CHAP-Challenge" Credential;
    61 NAS_PORT_TYPE "NAS-Port-Type" Integer;
    62 PORT_LIMIT "Port-Limit" Integer;
    63 LOGIN_LAT_PORT "Login-LAT-Port" Text;
    70 ARAP_PASSWORD "ARAP-Password" Credential;
    77 CONNECT_INFO "Connect-Info" Text;
    79 EAP_MESSAGE "EAP-Message" Credential;
    80 MESSAGE_AUTHENTICATOR "Message-Authenticator" Protocol;
    87 NAS_PORT_ID "NAS-Port-Id" Text;
    89 CHARGEABLE_USER_IDENTITY "Chargeable-User-Identity" Octets;
    94 ORIGINATING_LINE_INFO "Originating-Line-Info" Octets;
    95 NAS_IPV6_ADDRESS "NAS-IPv6-Address" Ipv6Address;
    96 FRAMED_INTERFACE_ID "Framed-Interface-Id" InterfaceId;
    97 FRAMED_IPV6_PREFIX "Framed-IPv6-Prefix" Ipv6Prefix;
    98 LOGIN_IPV6_HOST "Login-IPv6-Host" Ipv6Address;
    101 ERROR_CAUSE "Error-Cause" Integer;
    123 DELEGATED_IPV6_PREFIX "Delegated-IPv6-Prefix" Ipv6Prefix;
    126 OPERATOR_NAME "Operator-Name" Text;
    168 FRAMED_IPV6_ADDRESS "Framed-IPv6-Address" Ipv6Address;
    241 EXTENDED_ATTRIBUTE_1 "Extended-Attribute-1" Protocol;
    242 EXTENDED_ATTRIBUTE_2 "Extended-Attribute-2" Protocol;
    243 EXTENDED_ATTRIBUTE_3 "Extended-Attribute-3" Protocol;
    244 EXTENDED_ATTRIBUTE_4 "Extended-Attribute-4" Protocol;
    245 EXTENDED_ATTRIBUTE_5 "Extended-Attribute-5" Protocol;
    246 EXTENDED_ATTRIBUTE_6 "Extended-Attribute-6" Protocol;
}

/// Service-Type of a request that has nothing to authenticate (RFC 2865 §5.6).
pub const CALL_CHECK: u32 = 10;
/// Service-Type of a request that was authenticated before (RFC 5176 §3.1).
pub const AUTHORIZE_ONLY: u32 = 17;

/// Values of Service-Type (RFC 2865 §5.6, RFC 5176 §3.1).
const SERVICE_TYPES: &[(u32, &str)] = &[
    (1, "Login"),
    (2, "Framed"),
    (3, "Callback Login"),
    (4, "Callback Framed"),
    (5, "Outbound"),
    (6, "Administrative"),
    (7, "NAS Prompt"),
    (8, "Authenticate Only"),
    (9, "Callback NAS Prompt"),
    (CALL_CHECK, "Call Check"),
    (11, "Callback Administrative"),
    (AUTHORIZE_ONLY, "Authorize Only"),
];

/// Values of NAS-Port-Type (RFC 2865 §5.41).
const NAS_PORT_TYPES: &[(u32, &str)] = &[
    (0, "Async"),
    (1, "Sync"),
    (2, "ISDN Sync"),
    (3, "ISDN Async V.120"),
    (4, "ISDN Async V.110"),
    (5, "Virtual"),
    (6, "PIAFS"),
    (7, "HDLC Clear Channel"),
    (8, "X.25"),
    (9, "X.75"),
    (10, "G.3 Fax"),
    (11, "SDSL"),
    (12, "ADSL-CAP"),
    (13, "ADSL-DMT"),
    (14, "IDSL"),
    (15, "Ethernet"),
    (16, "xDSL"),
    (17, "Cable"),
    (18, "Wireless - Other"),
    (19, "Wireless - IEEE 802.11"),
];

/// The name of an attribute type, if it is one of ours; for `sekisho probe` and logs.
pub fn name_of(kind: u8) -> Option<&'static str> {
    ATTRIBUTES.iter().find(|row| row.0 == kind).map(|row| row.1)
}

/// An attribute that configuration may name, for example to tell which operation is meant (S-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttributeName {
    /// A standard attribute: `NAS-Port-Id`, or `Attr-<n>` for one without a name here.
    Standard(u8),
    /// An extended attribute: `Attr-<241 to 246>.<n>` (RFC 6929).
    Extended(u8, u8),
    /// A vendor's attribute: `Vendor-Specific:<vendor>:<type>`.
    Vendor(u32, u8),
}

impl AttributeName {
    /// The values that the packet has for it, in order, as text: integers in decimal, addresses and prefixes in their
    /// usual form, anything else as the octets stand. A value of the wrong size counts as absent (RFC 6929 §2.8).
    pub fn values<'a>(&self, packet: &Packet<'a>) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let name = *self;
        let standard = match name {
            AttributeName::Standard(kind) => Some(packet.values(kind)),
            _ => None,
        };
        let extended = match name {
            AttributeName::Extended(kind, subtype) => Some(packet.extended_values(kind, subtype)),
            _ => None,
        };
        let vendor = match name {
            AttributeName::Vendor(vendor, kind) => {
                let own = move |found: &VendorAttribute<'a>| (found.vendor, found.kind) == (vendor, kind);
                Some(packet.vendor_attributes().filter(own).map(|found| found.value))
            }
            _ => None,
        };
        let data_type = name.data_type();
        let plain = standard.into_iter().flatten().chain(vendor.into_iter().flatten());
        plain
            .filter_map(move |value| data_type.text(value))
            .chain(extended.into_iter().flatten().map(Value::Octets))
    }

    /// The form in which [`AttributeName::values`] would give the value that an operator has written: `Login` becomes
    /// `1` for Service-Type, addresses get their shortest form, text stays. Spaces and hyphens in value names are equal.
    ///
    /// # Errors
    /// [`NameError::ValueWrong`] for what no packet can carry.
    pub fn canonical(&self, written: &str) -> Result<String, NameError> {
        let wrong =
            |right| NameError::ValueWrong { name: self.to_string(), value: written.to_owned(), right };
        match self.data_type() {
            DataType::Integer => named_value(*self, written)
                .or_else(|| written.parse().ok())
                .map(|number: u32| number.to_string())
                .ok_or_else(|| wrong("a whole number from 0 to 4294967295, or the RFC's name of the value")),
            DataType::Ipv4Address => written
                .parse::<Ipv4Addr>()
                .map(|address| address.to_string())
                .map_err(|_| wrong("an IPv4 address such as 192.0.2.10")),
            DataType::Ipv6Address => written
                .parse::<Ipv6Addr>()
                .map(|address| address.to_string())
                .map_err(|_| wrong("an IPv6 address such as 2001:db8::10")),
            DataType::Ipv6Prefix => written
                .split_once('/')
                .and_then(|(address, bits)| {
                    let bits = bits.parse::<u8>().ok().filter(|&bits| bits <= 128)?;
                    Some(format!("{}/{bits}", masked(address.parse().ok()?, bits)))
                })
                .ok_or_else(|| wrong("an IPv6 prefix such as 2001:db8::/48")),
            _ if written.len() > VALUE_OCTETS_MAX => Err(wrong("at most 253 octets")),
            _ => Ok(written.to_owned()),
        }
    }

    /// The attribute with a value that an operator has written: the type of the attribute that carries it, and its
    /// octets. Text and octets stand as written.
    ///
    /// # Errors
    /// [`NameError::ValueWrong`] for what no packet can carry.
    pub fn encode(&self, written: &str) -> Result<(u8, Vec<u8>), NameError> {
        let text = self.canonical(written)?;
        let address = |text: &str| {
            text.parse().map(|address| match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            })
        };
        let value = match self.data_type() {
            DataType::Integer => text.parse::<u32>().ok().map(|number| number.to_be_bytes().to_vec()),
            DataType::Ipv4Address | DataType::Ipv6Address => address(&text).ok(),
            DataType::Ipv6Prefix => text.split_once('/').and_then(|(prefix, bits)| {
                Some([vec![0, bits.parse().ok()?], address(prefix).ok()?].concat())
            }),
            DataType::InterfaceId => {
                let groups = text.split(':').map(|group| u16::from_str_radix(group, 16).ok());
                let octets: Option<Vec<u8>> = groups
                    .map(|group| group.map(u16::to_be_bytes))
                    .collect::<Option<Vec<_>>>()
                    .map(|all| all.concat());
                octets.filter(|octets| octets.len() == 8)
            }
            _ => Some(text.into_bytes()),
        };
        let value = value.and_then(|value| match *self {
            AttributeName::Standard(kind) => Some((kind, value)),
            AttributeName::Extended(kind @ (245 | 246), subtype) => {
                Some((kind, [vec![subtype, 0], value].concat()))
            }
            AttributeName::Extended(kind, subtype) => Some((kind, [vec![subtype], value].concat())),
            AttributeName::Vendor(vendor, kind) => {
                let length = u8::try_from(value.len().checked_add(2)?).ok()?;
                let head = [&vendor.to_be_bytes()[..], &[kind, length]].concat();
                Some((attribute::VENDOR_SPECIFIC, [head, value].concat()))
            }
        });
        value.filter(|(_, value)| value.len() <= VALUE_OCTETS_MAX).ok_or_else(|| NameError::ValueWrong {
            name: self.to_string(),
            value: written.to_owned(),
            right: "a value that one attribute can carry",
        })
    }

    fn data_type(self) -> DataType {
        match self {
            AttributeName::Standard(kind) => data_type_of(kind),
            _ => DataType::Octets,
        }
    }
}

impl FromStr for AttributeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<AttributeName, NameError> {
        let unknown = || NameError::Unknown { name: text.to_owned() };
        let row = ATTRIBUTES.iter().find(|row| row.1.eq_ignore_ascii_case(text));
        if let Some(&(kind, ..)) = row {
            return standard(kind, text);
        }
        if let Some(rest) = strip_prefix_ignoring_case(text, "Vendor-Specific:") {
            let (vendor, kind) = rest.split_once(':').ok_or_else(unknown)?;
            let (vendor, kind) = (vendor.parse().ok(), kind.parse().ok());
            return Option::zip(vendor, kind)
                .map(|(vendor, kind)| AttributeName::Vendor(vendor, kind))
                .ok_or_else(unknown);
        }
        let number = strip_prefix_ignoring_case(text, "Attr-").ok_or_else(unknown)?;
        if let Some((kind, subtype)) = number.split_once('.') {
            let kind = kind.parse().ok().filter(|kind| (241..=246).contains(kind));
            return Option::zip(kind, subtype.parse().ok())
                .map(|(kind, subtype)| AttributeName::Extended(kind, subtype))
                .ok_or_else(unknown);
        }
        standard(number.parse().ok().filter(|&kind| kind > 0).ok_or_else(unknown)?, text)
    }
}

/// What may be compared with text that stands in a configuration file.
fn standard(kind: u8, text: &str) -> Result<AttributeName, NameError> {
    match data_type_of(kind) {
        DataType::Credential => Err(NameError::Credential { name: text.to_owned() }),
        DataType::Protocol => Err(NameError::NotComparable { name: text.to_owned() }),
        _ => Ok(AttributeName::Standard(kind)),
    }
}

impl fmt::Display for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            AttributeName::Standard(kind) => match name_of(kind) {
                Some(name) => f.write_str(name),
                None => write!(f, "Attr-{kind}"),
            },
            AttributeName::Extended(kind, subtype) => write!(f, "Attr-{kind}.{subtype}"),
            AttributeName::Vendor(vendor, kind) => write!(f, "Vendor-Specific:{vendor}:{kind}"),
        }
    }
}

/// Why a name or value in a configuration file is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// No such attribute.
    #[error(
        "`{name}` is no attribute known here; write an RFC name such as `NAS-Port-Id`, `Attr-<1 to 255>`, \
         `Attr-<241 to 246>.<n>` or `Vendor-Specific:<vendor>:<type>`"
    )]
    Unknown {
        /// As written.
        name: String,
    },
    /// The attribute carries a password.
    #[error("`{name}` carries a credential and cannot be compared; name an attribute such as `NAS-Port-Id`")]
    Credential {
        /// As written.
        name: String,
    },
    /// The attribute is a container or belongs to the protocol.
    #[error(
        "`{name}` has no value of its own to compare; for a vendor's attribute write `Vendor-Specific:<vendor>:<type>`"
    )]
    NotComparable {
        /// As written.
        name: String,
    },
    /// The attribute can never have this value.
    #[error("`{name}` can never be `{value}`; write {right}")]
    ValueWrong {
        /// The attribute.
        name: String,
        /// The value as written.
        value: String,
        /// What would be right.
        right: &'static str,
    },
}

/// The value of an attribute as text, without an allocation: either as it stands in the packet or written out here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The octets of the packet; owned only if joined from fragments.
    Octets(Cow<'a, [u8]>),
    /// A number or an address, in text.
    Written(ArrayString<WRITTEN_MAX>),
}

/// The longest text of an IPv6 prefix: eight groups with an embedded IPv4 address, a slash and three digits.
const WRITTEN_MAX: usize = 49;

impl Deref for Value<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Value::Octets(octets) => octets,
            Value::Written(text) => text.as_bytes(),
        }
    }
}

impl DataType {
    /// The value as text; `None` if its size is impossible, and for what nobody may read.
    fn text(self, value: &[u8]) -> Option<Value<'_>> {
        let mut text = ArrayString::new();
        match self {
            DataType::Text | DataType::Octets => return Some(Value::Octets(Cow::Borrowed(value))),
            DataType::Credential | DataType::Protocol => return None,
            DataType::Integer => write!(text, "{}", integer(value)?),
            DataType::Ipv4Address => write!(text, "{}", Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?)),
            DataType::Ipv6Address => write!(text, "{}", Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?)),
            DataType::Ipv6Prefix => {
                let (&[_, bits], prefix) = value.split_first_chunk()?;
                let mut octets = [0; 16];
                octets.get_mut(..prefix.len())?.copy_from_slice(prefix);
                if bits > 128 || usize::from(bits) > prefix.len().saturating_mul(8) {
                    return None;
                }
                write!(text, "{}/{bits}", masked(Ipv6Addr::from(octets), bits))
            }
            DataType::InterfaceId => {
                let [a, b, c, d, e, f, g, h] = <[u8; 8]>::try_from(value).ok()?;
                write!(text, "{a:02x}{b:02x}:{c:02x}{d:02x}:{e:02x}{f:02x}:{g:02x}{h:02x}")
            }
        }
        .ok()?;
        Some(Value::Written(text))
    }
}

/// The value of an integer attribute; `None` if it has not four octets.
pub(super) fn integer(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn data_type_of(kind: u8) -> DataType {
    ATTRIBUTES.iter().find(|row| row.0 == kind).map_or(DataType::Octets, |row| row.2)
}

fn named_value(name: AttributeName, written: &str) -> Option<u32> {
    let table = match name {
        AttributeName::Standard(attribute::SERVICE_TYPE) => SERVICE_TYPES,
        AttributeName::Standard(attribute::NAS_PORT_TYPE) => NAS_PORT_TYPES,
        _ => return None,
    };
    let spelled = |text: &str| text.replace('-', " ").to_ascii_lowercase();
    table.iter().find(|row| spelled(row.1) == spelled(written)).map(|row| row.0)
}

/// The address with everything beyond the prefix cleared.
fn masked(address: Ipv6Addr, bits: u8) -> Ipv6Addr {
    let host = u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & !host)
}

fn strip_prefix_ignoring_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}
