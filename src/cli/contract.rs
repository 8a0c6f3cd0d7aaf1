//! `sekisho contract`: which contracts one-time passwords are enabled for.

use super::command::{ContractDisable, ContractEnable, ContractShow, Looking};
use super::output::print;
use super::remote::{act, ended, look, print_json};
use super::{Exit, Failure};
use crate::admin::protocol::{Ask, ContractShown, Told};

/// Enables a contract.
pub fn enable(arguments: &ContractEnable) -> Result<Exit, Failure> {
    let (contract, service) = (arguments.contract.clone(), arguments.service.clone());
    act(&arguments.acting, Ask::ContractEnable { contract, service })
}

/// Disables a contract.
pub fn disable(arguments: &ContractDisable) -> Result<Exit, Failure> {
    act(&arguments.acting, Ask::ContractDisable { contract: arguments.contract.clone() })
}

/// Lists the enabled contracts.
pub fn list(looking: &Looking) -> Result<Exit, Failure> {
    match look(looking, Ask::ContractList)? {
        Told::Contracts(contracts) if looking.json => print_json(&contracts),
        Told::Contracts(contracts) => {
            print(&contracts.iter().map(line).collect::<String>())?;
            Ok(Exit::Done)
        }
        other => ended(other, looking.json),
    }
}

/// Shows a contract.
pub fn show(arguments: &ContractShow) -> Result<Exit, Failure> {
    match look(&arguments.looking, Ask::ContractShow { contract: arguments.contract.clone() })? {
        Told::Contract(contract) if arguments.looking.json => print_json(&*contract),
        Told::Contract(contract) => {
            print(&line(&contract))?;
            Ok(Exit::Done)
        }
        other => ended(other, arguments.looking.json),
    }
}

fn line(contract: &ContractShown) -> String {
    format!("{:<20} {:<24} since {}\n", contract.contract, contract.service, contract.since)
}
