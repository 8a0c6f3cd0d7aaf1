//! What a request is for, told from the attributes that the gateway already sends (S-07).

use crate::identity::OperationName;
use crate::radius::dictionary::NameError;
use crate::radius::{AttributeName, Packet};

/// One kind of thing that a service does. All conditions must hold; with none, every request fits.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its name in logs and evidence.
    pub name: OperationName,
    /// How a request for it looks.
    pub conditions: Vec<Condition>,
    /// Whether it needs a code.
    pub requirement: Requirement,
}

impl Operation {
    /// Whether the request is for it. Of an attribute that stands several times, one value that fits is enough.
    pub fn fits(&self, packet: &Packet<'_>) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.attribute.values(packet).any(|value| condition.pattern.fits(&value)))
    }
}

/// Whether an operation needs a code (S-09).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// It does.
    Required,
    /// A code is checked if one is sent.
    Optional,
    /// None is needed and none is looked at.
    Never,
    /// The user has chosen (S-08).
    UserChoice,
}

/// What applies to a request that fits no operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// It goes by this name and this rule.
    Ask(OperationName, Requirement),
    /// It is refused.
    Refuse,
}

impl Default for Otherwise {
    /// A code is needed: forgetting an operation in configuration must not open it.
    fn default() -> Otherwise {
        Otherwise::Ask(OperationName::new("other"), Requirement::Required)
    }
}

/// One attribute that must have a certain value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which attribute.
    pub attribute: AttributeName,
    /// Which values.
    pub pattern: Pattern,
}

impl Condition {
    /// Reads a condition as written: one text, or a list of which one must fit. A text that ends in `*` stands for every
    /// value that begins so; `\*` at the end is the star itself.
    ///
    /// # Errors
    /// An empty list, and values that the attribute can never have.
    pub fn new<T: AsRef<str>>(attribute: AttributeName, texts: &[T]) -> Result<Condition, ConditionProblem> {
        let mut patterns = Vec::with_capacity(texts.len());
        for text in texts {
            patterns.push(Pattern::read(attribute, text.as_ref())?);
        }
        let pattern = match patterns.len() {
            0 => return Err(ConditionProblem::NoValue),
            1 => patterns.pop().ok_or(ConditionProblem::NoValue)?,
            _ => Pattern::OneOf(patterns.into()),
        };
        Ok(Condition { attribute, pattern })
    }
}

/// What the value of an attribute must look like, octet for octet: upper and lower case differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Equal to this.
    Exact(Box<str>),
    /// Beginning with this; if it is empty, any value.
    Prefix(Box<str>),
    /// One of these.
    OneOf(Box<[Pattern]>),
}

impl Pattern {
    /// Whether a value, in the text form of [`AttributeName::values`], looks like this.
    pub fn fits(&self, value: &[u8]) -> bool {
        match self {
            Pattern::Exact(text) => value == text.as_bytes(),
            Pattern::Prefix(text) => value.starts_with(text.as_bytes()),
            Pattern::OneOf(patterns) => patterns.iter().any(|pattern| pattern.fits(value)),
        }
    }

    fn read(attribute: AttributeName, text: &str) -> Result<Pattern, ConditionProblem> {
        let exact = |text: &str| Ok(Pattern::Exact(attribute.canonical(text)?.into()));
        match (text.strip_suffix("\\*"), text.strip_suffix('*')) {
            (Some(before), _) => exact(&format!("{before}*")),
            (None, Some(prefix)) => Ok(Pattern::Prefix(prefix.into())),
            (None, None) if text.is_empty() => Err(ConditionProblem::NoValue),
            (None, None) => exact(text),
        }
    }
}

/// A condition that no request can meet: the fault of whoever configured it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionProblem {
    /// Nothing to compare with.
    #[error(
        "a condition needs a value such as \"transfer\", \"transfer-*\" or a list of them; \"*\" stands for any"
    )]
    NoValue,
    /// A value that the attribute can never have.
    #[error(transparent)]
    Value(#[from] NameError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ServiceName;
    use crate::policy::Profile;
    use crate::radius::packet::ATTRIBUTES_MAX;

    /// A datagram with these attributes and nothing true in it.
    fn datagram(attributes: &[(u8, &[u8])]) -> Vec<u8> {
        let body: Vec<u8> = attributes
            .iter()
            .flat_map(|(kind, value)| [&[*kind, value.len() as u8 + 2], *value].concat())
            .collect();
        let length = (20 + body.len() as u16).to_be_bytes();
        [&[1, 7, length[0], length[1]][..], &[9; 16], &body].concat()
    }

    fn condition(attribute: &str, texts: &[&str]) -> Condition {
        Condition::new(attribute.parse().unwrap(), texts).unwrap()
    }

    fn operation(name: &str, conditions: Vec<Condition>, requirement: Requirement) -> Operation {
        Operation { name: OperationName::new(name), conditions, requirement }
    }

    #[test]
    fn s_07_attributes_name_the_operation() {
        let mut profile = Profile::new(ServiceName::new("p"));
        profile.operations = vec![
            operation(
                "bulk",
                vec![condition("NAS-Port-Id", &["transfer"]), condition("NAS-Identifier", &["b*"])],
                Requirement::Required,
            ),
            operation(
                "transfer",
                vec![condition("NAS-Port-Id", &["transfer", "pay-*"])],
                Requirement::Required,
            ),
            operation("admin", vec![condition("Service-Type", &["Administrative"])], Requirement::Optional),
            operation("vendor", vec![condition("Vendor-Specific:32473:1", &["x"])], Requirement::UserChoice),
            operation("login", vec![condition("NAS-Port-Id", &["*"])], Requirement::Never),
        ];
        const PORT: u8 = 87;
        let vendor = [&[0, 0, 0x7e, 0xd9, 1, 3][..], b"x"].concat();
        for (attributes, name, requirement) in [
            (vec![(PORT, &b"transfer"[..]), (32, b"bank")], "bulk", Requirement::Required),
            (vec![(PORT, b"transfer"), (32, b"Bank")], "transfer", Requirement::Required),
            (vec![(PORT, b"pay-tax")], "transfer", Requirement::Required),
            (vec![(PORT, b"menu"), (PORT, b"transfer")], "transfer", Requirement::Required),
            (vec![(6, &[0, 0, 0, 6])], "admin", Requirement::Optional),
            (vec![(26, &vendor)], "vendor", Requirement::UserChoice),
            (vec![(PORT, b"transfe")], "login", Requirement::Never),
            (vec![(PORT, b"TRANSFER")], "login", Requirement::Never),
            (vec![(32, b"bank")], "other", Requirement::Required),
            (vec![], "other", Requirement::Required),
        ] {
            let octets = datagram(&attributes);
            let packet = Packet::parse_request(&octets, ATTRIBUTES_MAX).unwrap();
            let found = profile.operation(&packet).map(|(name, requirement)| (name.as_str(), requirement));
            assert_eq!(found, Some((name, requirement)), "{attributes:?}");
        }
        profile.otherwise = Otherwise::Refuse;
        let octets = datagram(&[]);
        assert_eq!(profile.operation(&Packet::parse_request(&octets, ATTRIBUTES_MAX).unwrap()), None);
        assert_eq!(profile.named_operation("bulk").map(|found| found.1), Some(Requirement::Required));
        assert_eq!(profile.named_operation("other"), None);
    }

    #[test]
    fn an_operation_without_conditions_fits_everything() {
        let octets = datagram(&[]);
        let packet = Packet::parse_request(&octets, ATTRIBUTES_MAX).unwrap();
        assert!(operation("login", vec![], Requirement::Never).fits(&packet));
    }

    #[test]
    fn patterns_are_read_as_written() {
        let exact = |text: &str| Pattern::Exact(text.into());
        for (texts, pattern) in [
            (vec!["a"], exact("a")),
            (vec!["a*b"], exact("a*b")),
            (vec!["a\\*"], exact("a*")),
            (vec!["a*"], Pattern::Prefix("a".into())),
            (vec!["*"], Pattern::Prefix("".into())),
            (vec!["a", "b*"], Pattern::OneOf([exact("a"), Pattern::Prefix("b".into())].into())),
        ] {
            assert_eq!(condition("NAS-Port-Id", &texts).pattern, pattern, "{texts:?}");
        }
        assert_eq!(condition("Service-Type", &["Login"]).pattern, exact("1"));
        let refused = |name: &str, texts: &[&str]| Condition::new(name.parse().unwrap(), texts).is_err();
        assert!(
            refused("NAS-Port-Id", &[])
                && refused("NAS-Port-Id", &[""])
                && refused("Service-Type", &["Loggin"])
        );
    }
}
