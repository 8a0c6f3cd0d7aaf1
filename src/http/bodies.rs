//! What the routes take in a body: the fields of the question that are not in the path.

use crate::admin::protocol::{LoginChoice, Password, Proof};
use serde::Deserialize;
use utoipa::ToSchema;

/// What an app gives to set itself up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Setup {
    /// The service id (サービスID).
    #[schema(max_length = 64)]
    pub(super) service_id: String,
    /// The user id (ユーザID).
    #[schema(max_length = 64)]
    pub(super) user_id: String,
    /// The start password (利用開始パスワード).
    #[schema(value_type = String, format = Password, max_length = 64)]
    pub(super) start_password: Password,
}

/// Under which service profile a contract is enabled.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Enable {
    /// The service profile, such as `kenshin-business`.
    pub(super) service: String,
}

/// Nothing but what the actor proves.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Proven {
    /// What the actor proves; the bank's own people prove nothing here.
    #[serde(default)]
    pub(super) proof: Proof,
}

/// Who lifts a lock.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Release {
    /// `counter`, or the name of a master or admin user of the same contract.
    pub(super) by: Option<String>,
    /// That user's confirmation password.
    #[schema(value_type = Option<String>, format = Password)]
    pub(super) password: Option<Password>,
}

/// A user's choice for login.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginCode {
    /// The choice.
    pub(super) choice: LoginChoice,
    /// What the actor proves.
    #[serde(default)]
    pub(super) proof: Proof,
}

/// What a token is issued with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Issue {
    /// Where the link is mailed to.
    pub(super) mail: Option<String>,
    /// The start password that the user has chosen; none with `existing`.
    #[schema(value_type = Option<String>, format = Password)]
    pub(super) start_password: Option<Password>,
    /// The serial number of the token that the user has for another contract.
    pub(super) existing: Option<String>,
    /// What the actor proves.
    #[serde(default)]
    pub(super) proof: Proof,
}

/// The first correct code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirm {
    /// The code.
    #[schema(value_type = String, format = Password)]
    pub(super) code: Password,
}

/// A token that was made before, and who takes it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Register {
    /// The token's serial number.
    pub(super) serial: String,
    /// A code of that token.
    #[schema(value_type = String, format = Password)]
    pub(super) code: Password,
    /// The user's confirmation password.
    #[schema(value_type = String, format = Password)]
    pub(super) password: Password,
    /// The choice for login.
    pub(super) login_code: Option<LoginChoice>,
}

/// From one token to another.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    /// The new token's serial number.
    pub(super) serial: String,
    /// A code of the old token.
    #[schema(value_type = String, format = Password)]
    pub(super) old_code: Password,
    /// A code of the new one.
    #[schema(value_type = String, format = Password)]
    pub(super) new_code: Password,
}

/// Two codes in a row.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resync {
    /// A code.
    #[schema(value_type = String, format = Password)]
    pub(super) first: Password,
    /// The code after it.
    #[schema(value_type = String, format = Password)]
    pub(super) second: Password,
}
