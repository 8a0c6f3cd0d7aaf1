//! The life of tokens in an LDAP directory: not written yet, so every act is refused.

use super::Ldap;
use crate::clock::Mono;
use crate::directory::Unavailable;
use crate::directory::registry::{Change, NotChanged, Read, Registered, Registry, Seen};
use crate::identity::{ContractId, TokenSerial, UserName};
use crate::tokens::{Contract, Record, State, User};
use futures_util::future::BoxFuture;

fn nothing<T: Send + 'static>() -> Read<'static, T> {
    Box::pin(async { Err(Unavailable::Unreachable) })
}

impl Registry for Ldap {
    fn contract<'a>(&'a self, _: &'a ContractId, _: Mono) -> Read<'a, Option<Seen<Contract>>> {
        nothing()
    }

    fn contracts(&self, _: Mono) -> Read<'_, Vec<Contract>> {
        nothing()
    }

    fn user<'a>(&'a self, _: &'a UserName, _: Mono) -> Read<'a, Option<Seen<Registered>>> {
        nothing()
    }

    fn reread<'a>(&'a self, _: &'a User, _: Mono) -> Read<'a, Option<Seen<Registered>>> {
        nothing()
    }

    fn users<'a>(
        &'a self,
        _: Option<&'a ContractId>,
        _: Option<&'a str>,
        _: usize,
        _: Mono,
    ) -> Read<'a, Vec<Registered>> {
        nothing()
    }

    fn token<'a>(&'a self, _: &'a TokenSerial, _: Mono) -> Read<'a, Option<Seen<Record>>> {
        nothing()
    }

    fn token_for_setup<'a>(&'a self, _: &'a str, _: &'a str, _: Mono) -> Read<'a, Option<Seen<Record>>> {
        nothing()
    }

    fn tokens<'a>(
        &'a self,
        _: Option<State>,
        _: Option<&'a str>,
        _: usize,
        _: Mono,
    ) -> Read<'a, Vec<Record>> {
        nothing()
    }

    fn change(&self, _: Change, _: Mono) -> BoxFuture<'_, Result<(), NotChanged>> {
        Box::pin(async {
            Err(NotChanged::Refused("acts are written to the embedded directory only so far".into()))
        })
    }
}
