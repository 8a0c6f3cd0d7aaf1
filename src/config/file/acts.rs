//! The part of a file that says who may act, and as whom.

use crate::config::value::List;
use serde::Deserialize;

tables! {
    /// `[[admin.operator]]`.
    Operator {
        /// An operating-system user, `daemon`, or a name that HTTPS proves.
        name: String,
        /// The roles, each under the own name, or as `ROLE:*` under any.
        r#as: List<String>,
    }

    /// `[admin.may]` and `[service.<name>.may]`: the roles that may do each act.
    May {
        /// Looking.
        look: List<ActorRole>,
        /// Enabling a contract.
        contract_enable: List<ActorRole>,
        /// Disabling a contract.
        contract_disable: List<ActorRole>,
        /// Promising a token.
        issue: List<ActorRole>,
        /// The first correct code.
        confirm: List<ActorRole>,
        /// Taking a token of the inventory.
        register: List<ActorRole>,
        /// Moving to another token.
        exchange: List<ActorRole>,
        /// Undoing that.
        undo_exchange: List<ActorRole>,
        /// Ending a token.
        revoke: List<ActorRole>,
        /// Stopping a token for a time.
        suspend: List<ActorRole>,
        /// Letting it go on.
        resume: List<ActorRole>,
        /// Giving it a new end.
        renew: List<ActorRole>,
        /// Giving the second factor up.
        stop: List<ActorRole>,
        /// Learning a token's clock.
        resync: List<ActorRole>,
        /// Lifting a lock.
        release: List<ActorRole>,
        /// Choosing for login.
        login_code: List<ActorRole>,
        /// Adding a user to the embedded directory.
        user_add: List<ActorRole>,
        /// Removing one.
        user_remove: List<ActorRole>,
        /// Bringing tokens in.
        import: List<ActorRole>,
        /// Taking tokens out.
        export: List<ActorRole>,
        /// Changing the keys that seal tokens.
        keys: List<ActorRole>,
        /// Approving or denying what somebody else asked for.
        decide: List<ActorRole>,
    }
}

words! {
    /// In which role somebody acts.
    ActorRole {
        /// The bank's counter.
        Counter,
        /// The master user of a contract.
        Master,
        /// An admin user of a contract.
        Admin,
        /// A user, for themselves.
        User,
        /// Looks, and changes nothing.
        Auditor,
    }
    /// The acts that can wait for a second person.
    Act {
        /// Enabling a contract.
        ContractEnable,
        /// Disabling a contract.
        ContractDisable,
        /// Promising a token.
        Issue,
        /// The first correct code.
        Confirm,
        /// Taking a token of the inventory.
        Register,
        /// Moving to another token.
        Exchange,
        /// Undoing that.
        UndoExchange,
        /// Ending a token.
        Revoke,
        /// Stopping a token for a time.
        Suspend,
        /// Letting it go on.
        Resume,
        /// Giving it a new end.
        Renew,
        /// Giving the second factor up.
        Stop,
        /// Learning a token's clock.
        Resync,
        /// Lifting a lock.
        Release,
        /// Choosing for login.
        LoginCode,
    }
}
