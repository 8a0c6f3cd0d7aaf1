//! Every route of the API in one table: what it takes, what it asks of the operations, what it answers.
//!
//! The router, the OpenAPI document and the tests are made from this table, so that none of them can say something else.

use super::bodies::{Confirm, Enable, Exchange, Issue, LoginCode, Proven, Register, Release, Resync, Setup};
use super::problem::Problem;
use crate::admin::protocol::{
    Added, Ask, ContractShown, Imported, IssuedShown, PAGE_MAX, RequestShown, SetUpShown, Status, StepShown,
    TokenShown, UserShown,
};
use serde::de::DeserializeOwned;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use zeroize::Zeroizing;

/// One route.
pub(super) struct Route {
    pub(super) method: Method,
    /// As axum and OpenAPI both write it.
    pub(super) path: &'static str,
    /// The operationId.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) admission: Admission,
    pub(super) query: &'static [Parameter],
    pub(super) body: Option<Shape>,
    /// Whether the body may be left out.
    pub(super) body_needed: Needed,
    pub(super) success: Success,
    /// The question.
    pub(super) ask: fn(&Given) -> Result<Ask, Problem>,
}

/// The two methods: looking and acting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Known callers; the operations say what each may do.
    Caller,
    /// An app, whose start password is the proof.
    App,
}

/// Whether something must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needed {
    Yes,
    No,
}

/// A query parameter.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) form: Form,
    pub(super) needed: Needed,
}

/// What a query parameter looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    /// 1 to [`PAGE_MAX`].
    Limit,
    /// `true` or `false`.
    Flag,
}

/// The schema of a type, with those that it refers to.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: fn() -> String,
    pub(super) collect: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Shape {
    const fn of<T: ToSchema>() -> Shape {
        fn name<T: ToSchema>() -> String {
            T::name().into_owned()
        }
        fn collect<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
            schemas.push((T::name().into_owned(), <T as PartialSchema>::schema()));
            T::schemas(schemas);
        }
        Shape { name: name::<T>, collect: collect::<T> }
    }
}

/// What a success looks like.
#[derive(Clone, Copy)]
pub(super) enum Success {
    /// 200 with the thing.
    One(Shape),
    /// 200 with an array under this name, and `next` where there are pages.
    Many { name: &'static str, shape: Shape, pages: Needed },
    /// 200 with what was or would be done, 202 if it waits for a second person.
    Acted,
    /// The same, and 201 with what was made.
    Made(Shape),
    /// 200 with the key.
    Key(Shape),
}

/// What came with a request.
pub(super) struct Given {
    pub(super) path: Vec<(String, String)>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Given {
    /// A part of the path. The router has seen to it that it is there.
    fn path(&self, name: &str) -> String {
        self.path.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.query.iter().find(|(given, _)| *given == name).map(|(_, value)| value.clone())
    }

    fn limit(&self) -> Option<usize> {
        self.text("limit").and_then(|limit| limit.parse().ok())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value == "true")
    }

    /// The body. What is wrong with it is told without its values, which may be passwords.
    fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        // A struct could also be read from an array, by position: nobody means that.
        if self.body.trim_ascii_start().first() != Some(&b'{') {
            return Err(Problem::Body("it is no JSON object".into()));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let said = error.to_string();
            let why = match error.classify() {
                serde_json::error::Category::Data if !said.starts_with("invalid") => said,
                serde_json::error::Category::Data => {
                    format!("a value has the wrong form at line {line} column {column}")
                }
                _ => format!("it is no JSON object at line {line} column {column}"),
            };
            Problem::Body(why)
        })
    }

    /// The body, or the default of its type where there is none.
    fn body_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.body.is_empty() { Ok(T::default()) } else { self.body() }
    }
}

const AFTER: Parameter = Parameter {
    name: "after",
    about: "Only what comes after this one: the `next` of the page before.",
    form: Form::Text,
    needed: Needed::No,
};
const LIMIT: Parameter =
    Parameter { name: "limit", about: "At most so many.", form: Form::Limit, needed: Needed::No };

const fn text(name: &'static str, about: &'static str, needed: Needed) -> Parameter {
    Parameter { name, about, form: Form::Text, needed }
}

const fn flag(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, about, form: Form::Flag, needed: Needed::No }
}

/// Looking at something.
const fn look(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    query: &'static [Parameter],
    success: Success,
    ask: fn(&Given) -> Result<Ask, Problem>,
) -> Route {
    let (method, admission) = (Method::Get, Admission::Caller);
    Route { method, path, id, summary, admission, query, body: None, body_needed: Needed::No, success, ask }
}

/// Doing something; `dry-run` goes with every act.
const fn act(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    body: Option<Shape>,
    body_needed: Needed,
    success: Success,
    ask: fn(&Given) -> Result<Ask, Problem>,
) -> Route {
    let (method, admission) = (Method::Post, Admission::Caller);
    Route { method, path, id, summary, admission, query: &[DRY_RUN], body, body_needed, success, ask }
}

const DRY_RUN: Parameter = flag("dry-run", "Only say what would be done.");

const PROVEN: Option<Shape> = Some(Shape::of::<Proven>());

/// Declares an act on a token that takes nothing but a proof.
macro_rules! on_token {
    ($verb:literal, $id:literal, $summary:literal, $ask:ident) => {
        act(
            concat!("/v1/tokens/{serial}/", $verb),
            $id,
            $summary,
            PROVEN,
            Needed::No,
            Success::Acted,
            |given| {
                let Proven { proof } = given.body_or_default()?;
                Ok(Ask::$ask { serial: given.path("serial"), proof })
            },
        )
    };
}

/// Every route but the document itself.
pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        path: "/v1/setup",
        id: "setUp",
        summary: "The app fetches its key, once (S-14). Wrong start passwords end the setup.",
        admission: Admission::App,
        query: &[],
        body: Some(Shape::of::<Setup>()),
        body_needed: Needed::Yes,
        success: Success::Key(Shape::of::<SetUpShown>()),
        ask: |given| {
            let Setup { service_id, user_id, start_password } = given.body()?;
            Ok(Ask::TokenSetup { service_id, user_id, start_password })
        },
    },
    look("/v1/status", "showStatus", "How the daemon is.", &[], Success::One(Shape::of::<Status>()), |_| {
        Ok(Ask::Status)
    }),
    look(
        "/v1/contracts",
        "listContracts",
        "The contracts that one-time passwords are enabled for.",
        &[],
        Success::Many { name: "contracts", shape: Shape::of::<ContractShown>(), pages: Needed::No },
        |_| Ok(Ask::ContractList),
    ),
    look(
        "/v1/contracts/{contract}",
        "showContract",
        "One contract.",
        &[],
        Success::One(Shape::of::<ContractShown>()),
        |given| Ok(Ask::ContractShow { contract: given.path("contract") }),
    ),
    act(
        "/v1/contracts/{contract}/enable",
        "enableContract",
        "One-time passwords begin for a contract (S-11).",
        Some(Shape::of::<Enable>()),
        Needed::Yes,
        Success::Acted,
        |given| {
            let Enable { service } = given.body()?;
            Ok(Ask::ContractEnable { contract: given.path("contract"), service })
        },
    ),
    act(
        "/v1/contracts/{contract}/disable",
        "disableContract",
        "One-time passwords end for a contract.",
        None,
        Needed::No,
        Success::Acted,
        |given| Ok(Ask::ContractDisable { contract: given.path("contract") }),
    ),
    look(
        "/v1/users",
        "listUsers",
        "Users by name.",
        &[
            text("contract", "Only the users of this contract.", Needed::No),
            flag("locked", "Only those who are locked (S-18)."),
            AFTER,
            LIMIT,
        ],
        Success::Many { name: "users", shape: Shape::of::<UserShown>(), pages: Needed::Yes },
        |given| {
            Ok(Ask::UserList {
                contract: given.text("contract"),
                locked: given.flag("locked"),
                after: given.text("after"),
                limit: given.limit(),
            })
        },
    ),
    act(
        "/v1/users",
        "addUser",
        "Add a user to the embedded directory.",
        Some(Shape::of::<Added>()),
        Needed::Yes,
        Success::Acted,
        |given| Ok(Ask::UserAdd(given.body()?)),
    ),
    act(
        "/v1/users/{user}/remove",
        "removeUser",
        "Remove a user of the embedded directory, with the tokens that are nobody else's.",
        None,
        Needed::No,
        Success::Acted,
        |given| Ok(Ask::UserRemove { user: given.path("user") }),
    ),
    look(
        "/v1/users/{user}",
        "showUser",
        "One user: standing, tokens, failures, lock.",
        &[],
        Success::One(Shape::of::<UserShown>()),
        |given| Ok(Ask::UserShow { user: given.path("user") }),
    ),
    look(
        "/v1/users/{user}/explanation",
        "explainUser",
        "What the user would be asked, step by step, and why. Uses nothing up.",
        &[
            text("client", "The RADIUS client that would ask.", Needed::Yes),
            text("operation", "The operation; what applies otherwise, if not given.", Needed::No),
        ],
        Success::Many { name: "steps", shape: Shape::of::<StepShown>(), pages: Needed::No },
        |given| {
            Ok(Ask::Explain {
                user: given.path("user"),
                client: given.text("client").unwrap_or_default(),
                operation: given.text("operation"),
            })
        },
    ),
    act(
        "/v1/users/{user}/release",
        "releaseUser",
        "Lift a user's lock (S-18).",
        Some(Shape::of::<Release>()),
        Needed::No,
        Success::Acted,
        |given| {
            let Release { by, password } = given.body_or_default()?;
            Ok(Ask::UserRelease { user: given.path("user"), by, password })
        },
    ),
    act(
        "/v1/users/{user}/login-code",
        "chooseLoginCode",
        "The user's own choice for login (S-08).",
        Some(Shape::of::<LoginCode>()),
        Needed::Yes,
        Success::Acted,
        |given| {
            let LoginCode { choice, proof } = given.body()?;
            Ok(Ask::UserLoginCode { user: given.path("user"), choice, proof })
        },
    ),
    act(
        "/v1/users/{user}/issue",
        "issueToken",
        "Promise the user a token (S-12), or let one of another contract serve here too (S-13).",
        Some(Shape::of::<Issue>()),
        Needed::Yes,
        Success::Made(Shape::of::<IssuedShown>()),
        |given| {
            let Issue { mail, start_password, existing, proof } = given.body()?;
            Ok(Ask::TokenIssue { user: given.path("user"), mail, start_password, existing, proof })
        },
    ),
    act(
        "/v1/users/{user}/confirm",
        "confirmToken",
        "The first correct code completes the activation (S-15).",
        Some(Shape::of::<Confirm>()),
        Needed::Yes,
        Success::Acted,
        |given| {
            let Confirm { code } = given.body()?;
            Ok(Ask::TokenConfirm { user: given.path("user"), code })
        },
    ),
    act(
        "/v1/users/{user}/register",
        "registerToken",
        "Give the user a token that was made before (S-16).",
        Some(Shape::of::<Register>()),
        Needed::Yes,
        Success::Acted,
        |given| {
            let Register { serial, code, password, login_code } = given.body()?;
            Ok(Ask::TokenRegister { user: given.path("user"), serial, code, password, login_code })
        },
    ),
    act(
        "/v1/users/{user}/exchange",
        "exchangeToken",
        "Move the user to another token (S-21).",
        Some(Shape::of::<Exchange>()),
        Needed::Yes,
        Success::Acted,
        |given| {
            let Exchange { serial, old_code, new_code } = given.body()?;
            Ok(Ask::TokenExchange { user: given.path("user"), serial, old_code, new_code })
        },
    ),
    act(
        "/v1/users/{user}/exchange/undo",
        "undoExchange",
        "Undo the last exchange, as long as the new token has not been used.",
        PROVEN,
        Needed::No,
        Success::Acted,
        |given| {
            let Proven { proof } = given.body_or_default()?;
            Ok(Ask::TokenExchangeUndo { user: given.path("user"), proof })
        },
    ),
    act(
        "/v1/users/{user}/stop",
        "stopUse",
        "The user gives the second factor up (S-22).",
        PROVEN,
        Needed::No,
        Success::Acted,
        |given| {
            let Proven { proof } = given.body_or_default()?;
            Ok(Ask::TokenStop { user: given.path("user"), proof })
        },
    ),
    look(
        "/v1/tokens",
        "listTokens",
        "Tokens by serial number.",
        &[
            text("user", "Only this user's.", Needed::No),
            text("state", "Only those in this state, such as `inventory` or `active`.", Needed::No),
            AFTER,
            LIMIT,
        ],
        Success::Many { name: "tokens", shape: Shape::of::<TokenShown>(), pages: Needed::Yes },
        |given| {
            Ok(Ask::TokenList {
                user: given.text("user"),
                state: given.text("state"),
                after: given.text("after"),
                limit: given.limit(),
            })
        },
    ),
    act(
        "/v1/tokens",
        "importToken",
        "Put one token into the inventory.",
        Some(Shape::of::<Imported>()),
        Needed::Yes,
        Success::Acted,
        |given| Ok(Ask::TokenImport(given.body()?)),
    ),
    look(
        "/v1/tokens/{serial}",
        "showToken",
        "One token: state, parameters, last step, clock offset.",
        &[],
        Success::One(Shape::of::<TokenShown>()),
        |given| Ok(Ask::TokenShow { serial: given.path("serial") }),
    ),
    on_token!("revoke", "revokeToken", "End the token (S-19, S-20).", TokenRevoke),
    on_token!("suspend", "suspendToken", "Stop the token for a time (S-23).", TokenSuspend),
    on_token!("resume", "resumeToken", "Let a suspended token go on (S-23).", TokenResume),
    on_token!("renew", "renewToken", "Give the token a new end (S-24).", TokenRenew),
    act(
        "/v1/tokens/{serial}/resync",
        "resyncToken",
        "Learn the token's clock anew, from two codes in a row (S-05).",
        Some(Shape::of::<Resync>()),
        Needed::Yes,
        Success::Acted,
        |given| {
            let Resync { first, second } = given.body()?;
            Ok(Ask::TokenResync { serial: given.path("serial"), first, second })
        },
    ),
    look(
        "/v1/requests",
        "listRequests",
        "Requests that wait for a second person.",
        &[flag("all", "Also those that are decided or expired.")],
        Success::Many { name: "requests", shape: Shape::of::<RequestShown>(), pages: Needed::No },
        |given| Ok(Ask::RequestList { all: given.flag("all") }),
    ),
    act(
        "/v1/requests/{id}/approve",
        "approveRequest",
        "Let what somebody else asked for happen.",
        None,
        Needed::No,
        Success::Acted,
        |given| Ok(Ask::RequestApprove { id: given.path("id") }),
    ),
    act(
        "/v1/requests/{id}/deny",
        "denyRequest",
        "Do not let it happen.",
        None,
        Needed::No,
        Success::Acted,
        |given| Ok(Ask::RequestDeny { id: given.path("id") }),
    ),
    look(
        "/v1/why/{request}",
        "showWhy",
        "What the audit log says about a judged request.",
        &[],
        Success::Many { name: "lines", shape: Shape::of::<Line>(), pages: Needed::No },
        |given| Ok(Ask::Why { request: given.path("request") }),
    ),
];

/// A line of the audit log.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub(super) struct Line(#[expect(dead_code, reason = "only its schema is used")] serde_json::Value);

/// What every act may answer instead: that it waits.
pub(super) const PENDING: Shape = Shape::of::<RequestShown>();

/// The largest page, for the document.
pub(super) const LIMIT_MAX: usize = PAGE_MAX;
