//! Values that a configuration writes as text: durations, networks, addresses, lists of one.

use ipnet::IpNet;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A length of time such as `"500ms"`, `"5s"`, `"30m"`, `"8h"`, `"30d"` or `"3y"` (a year has 365 days).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length(pub Duration);

impl Length {
    /// Reads a whole number with its unit; no blanks, no signs, no fractions.
    pub fn parse(text: &str) -> Option<Length> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let number: u64 = number.parse().ok()?;
        let seconds = match unit {
            "ms" => return Some(Length(Duration::from_millis(number))),
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "y" => 365 * 86_400,
            _ => return None,
        };
        Some(Length(Duration::from_secs(number.checked_mul(seconds)?)))
    }
}

/// In the largest unit that it is a whole number of.
impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if self.0.subsec_nanos() != 0 {
            return write!(f, "{}ms", self.0.as_millis());
        }
        let units = [(365 * 86_400, 'y'), (86_400, 'd'), (3_600, 'h'), (60, 'm')];
        let whole = units.iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
        match whole {
            Some((unit, letter)) => write!(f, "{}{letter}", seconds / unit),
            None => write!(f, "{seconds}s"),
        }
    }
}

/// `"until-released"` or a [`Length`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// No end of its own.
    UntilReleased,
    /// Ends by itself.
    For(Length),
}

impl Lock {
    fn parse(text: &str) -> Option<Lock> {
        if text == "until-released" { Some(Lock::UntilReleased) } else { Length::parse(text).map(Lock::For) }
    }
}

/// A network such as `192.0.2.0/24`; an address alone is a network of one. Bits outside the mask are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
        (network.addr() == network.network()).then_some(Network(network))
    }
}

/// An address and port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

/// Reads a text through `parse`; anything else is refused with the words of what is expected.
macro_rules! text_value {
    ($($name:ident, $parse:expr, $expected:literal;)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        $parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    )*};
}

text_value! {
    Length, Length::parse, r#"a length of time such as "500ms", "5s", "30m", "8h", "30d" or "3y""#;
    Lock, Lock::parse, r#""until-released" or a length of time such as "30m""#;
    Network, Network::parse, r#"a network such as "192.0.2.0/24" or "2001:db8::/48", with no bits set after the mask"#;
    Listen, |text: &str| text.parse().ok().map(Listen), r#"an address and port such as "127.0.0.1:1812" or "[::]:1812""#;
}

/// A list, or its only item without brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T>, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<List<T>, E> {
                T::deserialize(serde::de::value::StrDeserializer::new(text)).map(|item| List(vec![item]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<List<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(List)
            }
        }
        deserializer.deserialize_any(Items(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_exactly_and_printed_as_read() {
        for (text, seconds) in
            [("5s", 5), ("30m", 1800), ("8h", 28_800), ("30d", 2_592_000), ("3y", 94_608_000)]
        {
            assert_eq!(Length::parse(text), Some(Length(Duration::from_secs(seconds))), "{text}");
            assert_eq!(Length(Duration::from_secs(seconds)).to_string(), text);
        }
        assert_eq!(Length::parse("1500ms").unwrap().to_string(), "1500ms");
        for bad in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "+5s",
            "1.5s",
            "5S",
            "5sec",
            "5s ",
            "99999999999999999999s",
            "18446744073709551615y",
        ] {
            assert_eq!(Length::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_network_has_no_bits_after_its_mask() {
        assert_eq!(Network::parse("192.0.2.10").unwrap().0.to_string(), "192.0.2.10/32");
        assert_eq!(Network::parse("2001:db8::/48").unwrap().0.to_string(), "2001:db8::/48");
        for bad in ["192.0.2.10/24", "192.0.2.0/33", "192.0.2", "localhost", ""] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
