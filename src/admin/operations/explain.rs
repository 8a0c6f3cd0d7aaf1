//! What a user would be asked and why, step by step; nothing is used up, and nothing secret is shown.

use super::Operations;
use super::look::role_text;
use crate::admin::caller::Actor;
use crate::admin::protocol::{StepShown, Told};
use crate::admin::refusal::Refuse;
use crate::admin::time_text;
use crate::clock::Moment;
use crate::lockout::Lock;
use crate::otp::Moving;
use crate::policy::{
    ContractRule, Otherwise, PasswordCheck, Profile, Requirement, SecondStep, Undecided, WithoutToken,
};
use crate::state::contracts;
use crate::tokens::{LoginCode, Standing, Token, Tokens, User};

impl Operations {
    /// The steps of a judgement, in the order of the pipeline.
    pub(super) async fn explain(
        &self,
        user: &str,
        client: &str,
        operation: Option<&str>,
        actor: &Actor,
        now: Moment,
    ) -> Result<Told, Refuse> {
        self.allows_look(actor)?;
        if actor.user.is_some() {
            return Err(Refuse::OtherContract);
        }
        let settings = self.drive.pipeline().settings();
        let found = settings.clients.named(client).ok_or_else(|| Refuse::ClientUnknown(client.to_owned()))?;
        let profile = &found.profile;
        let mut steps = Vec::new();
        let mut step = |looks_at: &str, finds: String, follows: &str| {
            steps.push(StepShown { looks_at: looks_at.into(), finds, follows: follows.into() });
        };
        step("client", format!("{client}: service profile {}", profile.name), "this profile's rules apply");

        let (name, requirement) = match (operation, &profile.otherwise) {
            (Some(name), _) => {
                let known = profile.named_operation(name);
                let (name, requirement) = known.ok_or_else(|| Refuse::OperationUnknown(name.to_owned()))?;
                (name.to_string(), requirement)
            }
            (None, Otherwise::Ask(name, requirement)) => (name.to_string(), *requirement),
            (None, Otherwise::Refuse) => {
                step(
                    "operation",
                    "none is named, and the profile refuses the rest".into(),
                    "rejected: operation-unknown",
                );
                return Ok(Told::Explained(steps));
            }
        };
        step(
            "operation",
            format!("{name}: code = {}", requirement_text(requirement)),
            "the user is looked up",
        );

        let user = self.find(user, now).await?;
        let contract = user.contract.as_ref().map_or("none".to_owned(), ToString::to_string);
        step(
            "user",
            format!("{} ({}), contract {contract}", user.name, role_text(user.role)),
            "lock and account are looked at",
        );
        let is_asked = self.explain_contract(&user, profile, now, &mut step);
        let lockout = self.drive.pipeline().tables().durable.users.lockout(user.id, now.wall);
        if lockout.is_locked(now.wall) {
            let until = match lockout.lock {
                Lock::Until(until) => format!("until {}", time_text(until)),
                _ => "until released".into(),
            };
            step(
                "lock",
                format!("{} failures in a row, locked {until}", lockout.failures),
                "rejected: locked",
            );
            return Ok(Told::Explained(steps));
        }
        let left = profile.max_failures.count().saturating_sub(lockout.failures);
        step(
            "lock",
            format!("{} failures in a row", lockout.failures),
            &format!("{left} more lock the user"),
        );
        if let Some(reason) = user.account.refusal(now.wall) {
            step("account", reason.text().into(), &format!("rejected: {}", reason.text()));
            return Ok(Told::Explained(steps));
        }

        let asked = effective(requirement, &user, profile, &mut step);
        if is_asked == Asked::Unknown {
            return Ok(Told::Explained(steps));
        }
        let instead = profile.without_token == WithoutToken::Password && asked != Requirement::Never;
        if instead && (is_asked == Asked::No || !has_token(&user)) {
            step(
                "code",
                "the user has no token yet".into(),
                "the field holds the confirmation password; the first correct code of a new token is taken too",
            );
            return Ok(Told::Explained(steps));
        }
        if asked == Requirement::Never || is_asked == Asked::No {
            password(
                profile,
                &mut step,
                "the field holds the password alone; a code is neither needed nor checked",
            );
            return Ok(Told::Explained(steps));
        }
        let usable = self.explain_tokens(&user, now, &mut step);
        if usable == 0 && asked == Requirement::Required {
            step(
                "code",
                "no token can show one now".into(),
                "rejected; a token has to be issued, confirmed, resumed or renewed first",
            );
            return Ok(Told::Explained(steps));
        }
        let layout = format!("layout {}", profile.layout);
        let layout = layout.as_str();
        match (asked, profile.second_step) {
            (_, SecondStep::Always) => {
                step(
                    "second step",
                    "always".into(),
                    "the first field is the password alone; the code is asked for by Access-Challenge",
                );
            }
            (Requirement::Required, SecondStep::WhenMissing) => {
                step(
                    "second step",
                    "when missing".into(),
                    "if no code comes with the password, it is asked for by Access-Challenge",
                );
            }
            (Requirement::Optional, _) => {
                step(
                    "code",
                    layout.into(),
                    "a right code is used up; without one the password alone decides",
                );
            }
            _ => step(
                "code",
                layout.into(),
                "without a right and unused code: rejected, and the directory is not asked",
            ),
        }
        password(profile, &mut step, "asked for only after a right code; then accepted");
        Ok(Told::Explained(steps))
    }

    /// Every token with whether it counts; gives how many do.
    fn explain_tokens(&self, user: &User, now: Moment, step: &mut impl FnMut(&str, String, &str)) -> usize {
        let tokens = match &user.tokens {
            Tokens::These(tokens) => tokens,
            Tokens::TooMany(count) => {
                step("tokens", format!("{count}"), "rejected: tokens-too-many");
                return 0;
            }
        };
        if tokens.is_empty() {
            step("tokens", "none".into(), "no code can be right");
        }
        let mut usable = 0_usize;
        for token in tokens {
            let past = self.drive.pipeline().tables().durable.past(token);
            let moving = match token.parameters.moving {
                Moving::Time { period } => format!("every {} s", period.seconds()),
                Moving::Counter { .. } => "by counter".into(),
            };
            let window = token.parameters.window;
            let finds = format!(
                "{}: {} digits {moving}, window -{} +{} steps around {:+}, {} failures in a row",
                token.serial,
                token.parameters.digits.count(),
                window.back(),
                window.forward(),
                past.drift.steps(),
                past.failures
            );
            match token.refusal(now.wall) {
                Some(reason) => step("token", finds, &format!("not counted: {}", reason.text())),
                None if past.is_disabled() => step("token", finds, "not counted: token-disabled"),
                None if token.standing == Standing::AwaitsConfirmation => {
                    usable = usable.saturating_add(1);
                    step("token", finds, "its first correct code puts it into service");
                }
                None => {
                    usable = usable.saturating_add(1);
                    step("token", finds, "its digits are cut from the field and checked");
                }
            }
        }
        usable
    }
}

/// Whether a contract's users are asked for codes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Yes,
    No,
    Unknown,
}

impl Operations {
    fn explain_contract(
        &self,
        user: &User,
        profile: &Profile,
        now: Moment,
        step: &mut impl FnMut(&str, String, &str),
    ) -> Asked {
        if profile.contracts == ContractRule::Ignore {
            return Asked::Yes;
        }
        let id = user.contract.as_ref().map_or("none".to_owned(), ToString::to_string);
        let contracts = self.drive.pipeline().tables().bindings.contracts();
        match contracts.look_up(user.contract.as_ref().map(|id| id.as_str()), &profile.name, now.mono) {
            contracts::Known::Enabled => {
                step(
                    "contract",
                    format!("{id}: enabled for {}", profile.name),
                    "its users are asked for codes",
                );
                Asked::Yes
            }
            contracts::Known::NotEnabled => {
                step(
                    "contract",
                    format!("{id}: not enabled for {}", profile.name),
                    "its users are asked for no code",
                );
                Asked::No
            }
            contracts::Known::Unknown => {
                step("contract", format!("{id}: nobody can say"), "no answer: contracts-unknown");
                Asked::Unknown
            }
        }
    }
}

/// Whether the user has a token that stands in the way of the confirmation password.
fn has_token(user: &User) -> bool {
    let ended = |token: &Token| matches!(token.standing, Standing::AwaitsConfirmation | Standing::Revoked);
    match &user.tokens {
        Tokens::These(tokens) => !tokens.iter().all(ended),
        Tokens::TooMany(_) => true,
    }
}

/// What `user-choice` comes to.
fn effective(
    requirement: Requirement,
    user: &User,
    profile: &Profile,
    step: &mut impl FnMut(&str, String, &str),
) -> Requirement {
    if requirement != Requirement::UserChoice {
        return requirement;
    }
    let (finds, asked) = match (user.login_code, profile.life.undecided) {
        (Some(LoginCode::Required), _) => ("the user wants a code", Requirement::Required),
        (Some(LoginCode::NotRequired), _) => ("the user wants no code", Requirement::Never),
        (None, Undecided::Required) => ("never chosen, and the profile says required", Requirement::Required),
        (None, Undecided::NotRequired) => {
            ("never chosen, and the profile says not required", Requirement::Never)
        }
    };
    step("choice", finds.into(), &format!("code = {}", requirement_text(asked)));
    asked
}

fn password(profile: &Profile, step: &mut impl FnMut(&str, String, &str), follows: &str) {
    match profile.password {
        PasswordCheck::Directory => step("password", "checked by a bind as the user".into(), follows),
        PasswordCheck::GatewayChecked => {
            step("password", "checked by the gateway before it asked".into(), "accepted without it");
        }
    }
}

fn requirement_text(requirement: Requirement) -> &'static str {
    match requirement {
        Requirement::Required => "required",
        Requirement::Optional => "optional",
        Requirement::Never => "never",
        Requirement::UserChoice => "user-choice",
    }
}
