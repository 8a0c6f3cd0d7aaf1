//! A request that may be judged: demanded signatures are there and right; then exactly one usable credential.

use crate::identity::UserName;
use crate::outcome::Reason;
use crate::radius::authenticator::SharedSecret;
use crate::radius::dictionary::{self, attribute, code};
use crate::radius::packet::{Attribute, Located, Packet, vendor_content};
use crate::secret::PasswordField;

/// A packet of a known kind whose signature is as the policy demands.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The packet, for attributes that policy looks at.
    pub packet: Packet<'a>,
    /// What is asked.
    pub kind: Kind,
    /// Who has signed it.
    pub signature: Signature,
}

impl<'a> Request<'a> {
    /// Steps 5, 7 and 8 of the receive path: Code, presence of the Message-Authenticator, its value. None of them leaves
    /// a trace, so a forger gets nothing back.
    ///
    /// # Errors
    /// [`Reason::TypeUnknown`], [`Reason::StatusServerSilent`], [`Reason::MessageAuthenticatorMissing`],
    /// [`Reason::MessageAuthenticatorBad`], [`Reason::ProxyStateUnsigned`]. All of them are drops.
    pub fn receive(
        packet: Packet<'a>,
        secrets: &Secrets,
        policy: &SignaturePolicy,
        pinned: Pinned,
    ) -> Result<Request<'a>, Reason> {
        let kind = match packet.code() {
            code::ACCESS_REQUEST => Kind::AccessRequest,
            code::STATUS_SERVER if policy.status_server == StatusServer::Silent => {
                return Err(Reason::StatusServerSilent);
            }
            code::STATUS_SERVER => Kind::StatusServer,
            _ => return Err(Reason::TypeUnknown),
        };
        let signature = match packet.message_authenticator() {
            Located::Wrong => return Err(Reason::MessageAuthenticatorBad),
            Located::Missing => policy.admit_unsigned(&packet, kind, pinned)?,
            Located::At { before, signature, after } => {
                let parts: [&[u8]; 3] = [before, &[0; 16], after];
                let which = secrets
                    .in_use()
                    .find(|(_, secret)| secret.verify_signature(&parts, signature))
                    .ok_or(Reason::MessageAuthenticatorBad)?
                    .0;
                Signature::Verified(which)
            }
        };
        Ok(Request { packet, kind, signature })
    }

    /// Which secret the request was made with. An unsigned request does not show it: it is the current one.
    pub fn which_secret(&self) -> WhichSecret {
        match self.signature {
            Signature::Verified(which) => which,
            Signature::Unsigned => WhichSecret::Current,
        }
    }

    /// The User-Name as sent, for the evidence of a refusal; the first, if there are more.
    pub fn user_name(&self) -> Option<UserName> {
        self.packet.values(attribute::USER_NAME).next().and_then(UserName::new)
    }

    /// Step 10 of the receive path: one User-Name, one User-Password and no other credential, at most one State.
    ///
    /// # Errors
    /// All are rejects but one. [`Reason::CredentialMissingUnsigned`] is a drop (RFC 3579 §3.3 note 1).
    /// [`Reason::AttributeRepeated`]: the last is not better than the first. [`Reason::ServiceTypeRefused`]:
    /// Authorize-Only and Call-Check have nothing to authenticate. [`Reason::CredentialInvalid`]: two kinds of
    /// credential, or a User-Password of impossible length. [`Reason::CredentialMissing`],
    /// [`Reason::MethodUnsupported`] (CHAP, MS-CHAP, EAP, ARAP), [`Reason::UserNameMissing`]. The reply to an EAP-Message
    /// gets its EAP-Failure from [`ReplyTo`](crate::radius::ReplyTo).
    pub fn credential(&self, secrets: &Secrets) -> Result<Credential<'a>, Reason> {
        let found = Found::read(&self.packet);
        let kinds = [found.user_password.value.is_some(), found.chap, found.ms_chap, found.eap, found.arap];
        let kinds = kinds.into_iter().filter(|&present| present).count();
        if kinds == 0 && self.signature == Signature::Unsigned {
            return Err(Reason::CredentialMissingUnsigned);
        }
        if found.user_name.repeated || found.user_password.repeated || found.state.repeated {
            return Err(Reason::AttributeRepeated);
        }
        if found.service_type_refused {
            return Err(Reason::ServiceTypeRefused);
        }
        let hidden = match (kinds, found.user_password.value) {
            (0, _) => return Err(Reason::CredentialMissing),
            (1, Some(hidden)) => hidden,
            (1, None) => return Err(Reason::MethodUnsupported),
            _ => return Err(Reason::CredentialInvalid),
        };
        let user_name = found.user_name.value.and_then(UserName::new).ok_or(Reason::UserNameMissing)?;
        let password = secrets
            .secret(self.which_secret())
            .and_then(|secret| secret.unhide(hidden, self.packet.authenticator()))
            .ok_or(Reason::CredentialInvalid)?;
        Ok(Credential {
            user_name,
            password,
            state: found.state.value,
            calling_station: found.calling_station.value,
        })
    }
}

/// What an authentication port answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// May this person do this?
    AccessRequest,
    /// Are you alive? (RFC 5997)
    StatusServer,
}

/// Who has signed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// The Message-Authenticator was made with this secret.
    Verified(WhichSecret),
    /// There is none, so anybody may have sent it: it must not lock a user out.
    Unsigned,
}

/// What a usable request brings.
#[derive(Debug)]
pub struct Credential<'a> {
    /// The name as sent.
    pub user_name: UserName,
    /// The content of User-Password; may be empty.
    pub password: PasswordField,
    /// The State of an earlier challenge: this is a second step, never a fresh login. May be empty.
    pub state: Option<&'a [u8]>,
    /// The end user's address or number as the gateway tells it; the first, if there are more.
    pub calling_station: Option<&'a [u8]>,
}

/// What is asked of a client's signatures, and whether Status-Server is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignaturePolicy {
    /// Whether an Access-Request must be signed.
    pub require: Demand,
    /// Whether Status-Server is answered.
    pub status_server: StatusServer,
}

/// The safe choice: everything signed, Status-Server answered.
impl Default for SignaturePolicy {
    fn default() -> SignaturePolicy {
        SignaturePolicy { require: Demand::Required, status_server: StatusServer::Answered }
    }
}

impl SignaturePolicy {
    /// What becomes of a packet without Message-Authenticator. Status-Server (RFC 5997 §3) and EAP-Message (RFC 3579
    /// §3.1) must have one under any policy.
    fn admit_unsigned(&self, packet: &Packet<'_>, kind: Kind, pinned: Pinned) -> Result<Signature, Reason> {
        let proxy_state = match (self.require, pinned) {
            (Demand::Required, _) | (Demand::Pinnable, Pinned::Yes) => {
                return Err(Reason::MessageAuthenticatorMissing);
            }
            (Demand::Pinnable, Pinned::No) => ProxyState::Limited,
            (Demand::Optional { limit_proxy_state }, _) => limit_proxy_state,
        };
        if kind == Kind::StatusServer || packet.values(attribute::EAP_MESSAGE).next().is_some() {
            return Err(Reason::MessageAuthenticatorMissing);
        }
        if proxy_state == ProxyState::Limited && packet.values(attribute::PROXY_STATE).next().is_some() {
            return Err(Reason::ProxyStateUnsigned);
        }
        Ok(Signature::Unsigned)
    }
}

/// Whether an Access-Request must carry a Message-Authenticator (`require_message_authenticator`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// It must.
    Required,
    /// `auto`, for migration: it must once this client has sent a verified one. Only ever tightens; until then
    /// Proxy-State is limited.
    Pinnable,
    /// It need not.
    Optional {
        /// Whether Proxy-State may come unsigned.
        limit_proxy_state: ProxyState,
    },
}

/// Whether an unsigned Access-Request may carry Proxy-State (`limit_proxy_state`), the vehicle of CVE-2024-3596.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyState {
    /// No: it is dropped.
    Limited,
    /// Yes: insecure on UDP.
    Unlimited,
}

/// Whether Status-Server is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusServer {
    /// With an Access-Accept, if signed.
    Answered,
    /// Not at all.
    Silent,
}

/// Whether the client has been seen to sign, so that [`Demand::Pinnable`] holds it to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// A verified Message-Authenticator has come from it.
    Yes,
    /// Not yet.
    No,
}

/// The secrets of one client: two while the secret is being changed.
#[derive(Debug)]
pub struct Secrets {
    /// What the client uses, or is leaving.
    pub current: SharedSecret,
    /// What it is changing to.
    pub next: Option<SharedSecret>,
}

impl Secrets {
    /// The named secret; `None` if it has been retired since.
    pub fn secret(&self, which: WhichSecret) -> Option<&SharedSecret> {
        match which {
            WhichSecret::Current => Some(&self.current),
            WhichSecret::Next => self.next.as_ref(),
        }
    }

    fn in_use(&self) -> impl Iterator<Item = (WhichSecret, &SharedSecret)> {
        let next = self.next.as_ref().map(|secret| (WhichSecret::Next, secret));
        std::iter::once((WhichSecret::Current, &self.current)).chain(next)
    }
}

/// One of a client's two secrets; the reply is made with the one that the request was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichSecret {
    /// [`Secrets::current`].
    Current,
    /// [`Secrets::next`].
    Next,
}

/// What one pass over the attributes finds of interest.
#[derive(Default)]
struct Found<'a> {
    user_name: Once<'a>,
    user_password: Once<'a>,
    state: Once<'a>,
    calling_station: Once<'a>,
    chap: bool,
    ms_chap: bool,
    eap: bool,
    arap: bool,
    service_type_refused: bool,
}

impl<'a> Found<'a> {
    fn read(packet: &Packet<'a>) -> Found<'a> {
        let mut found = Found::default();
        for Attribute { kind, value } in packet.attributes() {
            match kind {
                attribute::USER_NAME => found.user_name.take(value),
                attribute::USER_PASSWORD => found.user_password.take(value),
                attribute::STATE => found.state.take(value),
                attribute::CALLING_STATION_ID => found.calling_station.take(value),
                attribute::CHAP_PASSWORD => found.chap = true,
                attribute::ARAP_PASSWORD => found.arap = true,
                attribute::EAP_MESSAGE => found.eap = true,
                attribute::VENDOR_SPECIFIC => found.ms_chap |= is_ms_chap(value),
                attribute::SERVICE_TYPE => {
                    let asked = dictionary::integer(value);
                    found.service_type_refused |=
                        matches!(asked, Some(dictionary::CALL_CHECK | dictionary::AUTHORIZE_ONLY));
                }
                _ => {}
            }
        }
        found
    }
}

/// The first value of an attribute that may stand once, and whether there were more.
#[derive(Default)]
struct Once<'a> {
    value: Option<&'a [u8]>,
    repeated: bool,
}

impl<'a> Once<'a> {
    fn take(&mut self, value: &'a [u8]) {
        match self.value {
            None => self.value = Some(value),
            Some(_) => self.repeated = true,
        }
    }
}

/// MS-CHAP-Response or MS-CHAP2-Response (RFC 2548 §2.1.3, §2.3.2).
fn is_ms_chap(vendor_specific: &[u8]) -> bool {
    const MICROSOFT: u32 = 311;
    vendor_content(vendor_specific).is_some_and(|(vendor, mut content)| {
        vendor == MICROSOFT && content.any(|inner| matches!(inner.kind, 1 | 25))
    })
}
