//! `vestibule revoke`: the same acts as on the admin listener, for whoever can open the database.
//!
//! What containment has to do is done by the nodes that run; this process only records that it is to be done.

use clap::Subcommand;
use comfy_table::Table;
use jiff::Timestamp;

use crate::app::{Deeds, Holdings, NewRevocation, RevocationNow, Targets};
use crate::clock::Clock;
use crate::domain::audit::Outcome;
use crate::domain::ids::{AppName, KeyId, OwnerName, RevocationId, TokenId, WorkflowName};
use crate::domain::revocation::RevocationTarget;
use crate::startup;
use crate::store::{RevocationQuery, RevocationRecord};

use super::{ConfigFile, Failure, token};

#[derive(clap::Args)]
pub(super) struct RevokeCommand {
    #[command(flatten)]
    file: ConfigFile,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// One token, and those that were derived from it.
    Token {
        /// The token's id, the part after vst_live_ and before the next _.
        id: TokenId,
        #[command(flatten)]
        how: How,
    },
    /// Every token of a workflow.
    Workflow {
        /// The app that it belongs to.
        app: AppName,
        /// Its name.
        workflow: WorkflowName,
        #[command(flatten)]
        how: How,
    },
    /// Every token of an app.
    App {
        /// Its name.
        app: AppName,
        #[command(flatten)]
        how: How,
    },
    /// Every token that acts for a person.
    User {
        /// The person's stable id at the identity provider.
        user: String,
        #[command(flatten)]
        how: How,
    },
    /// Every token that acts from a device.
    Device {
        /// The device's id.
        device: String,
        #[command(flatten)]
        how: How,
    },
    /// Every token of every workflow that an owner answers for.
    Owner {
        /// The owner's name.
        owner: OwnerName,
        #[command(flatten)]
        how: How,
    },
    /// Every token that a key of the gateway has signed.
    Key {
        /// The key's id.
        key: KeyId,
        #[command(flatten)]
        how: How,
    },
    /// Show the newest revocations.
    List {
        /// Only those whose block is in force.
        #[arg(long)]
        in_force: bool,
    },
    /// Show a revocation: how far its containment is, and what its tokens did.
    Show {
        /// Its id.
        id: RevocationId,
    },
    /// Lift a revocation's block; what is dead stays dead.
    Lift {
        /// Its id.
        id: RevocationId,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

#[derive(clap::Args)]
struct How {
    /// Why; goes into the audit trail.
    #[arg(long)]
    reason: String,
    /// Let new tokens be made for it.
    #[arg(long)]
    no_block: bool,
    /// Hold everything that was uploaded under it for review, and end what is still awaited.
    #[arg(long)]
    contain: bool,
}

impl How {
    fn to(self, target: RevocationTarget) -> NewRevocation {
        NewRevocation { target, reason: self.reason, block: !self.no_block, contain: self.contain }
    }
}

impl RevokeCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut config = self.file.load()?;
        // Standard output is for the report; the table has the entries.
        config.audit.json_lines = config.audit.json_lines.filter(|sink| sink != "stdout");
        let app = startup::core(&config, Targets::default(), String::new(), Clock::system()).await?.app;
        let who = token::operator();
        let context = token::context(&app);
        let new = match self.act {
            Act::Token { id, how } => how.to(RevocationTarget::Token(id)),
            Act::Workflow { app, workflow, how } => how.to(RevocationTarget::Workflow(app, workflow)),
            Act::App { app, how } => how.to(RevocationTarget::App(app)),
            Act::User { user, how } => how.to(RevocationTarget::parse("user", None, &user).map_err(told)?),
            Act::Device { device, how } => how.to(RevocationTarget::parse("device", None, &device).map_err(told)?),
            Act::Owner { owner, how } => how.to(RevocationTarget::Owner(owner)),
            Act::Key { key, how } => how.to(RevocationTarget::Key(key)),
            Act::List { in_force } => {
                let query = RevocationQuery { blocking: in_force, limit: 100, ..RevocationQuery::default() };
                let (found, next) = app.revocations(&context, &who, Ok(query)).await?;
                println!("{}", table(&found));
                if next.is_some() {
                    eprintln!("there are more; GET /admin/revocations lists all of them");
                }
                return Ok(());
            }
            Act::Show { id } => {
                print(&app.revocation(&context, &who, Ok(id)).await?);
                return Ok(());
            }
            Act::Lift { id, reason } => {
                app.lift_revocation(&context, &who, Ok(id), Ok(reason)).await?;
                eprintln!("lifted {id}; new tokens may be made again");
                return Ok(());
            }
        };
        print(&app.revoke(&context, &who, Ok(new)).await?);
        Ok(())
    }
}

fn told(error: impl std::fmt::Display) -> Failure {
    Failure::Told(error.to_string())
}

fn at(time: Timestamp) -> String {
    format!("{time:.0}")
}

fn print(now: &RevocationNow) {
    let record = &now.record;
    println!("{}  {}  {} by {}: {}", record.id, record.target, at(record.at), record.by, record.reason);
    println!("tokens that died: {}", record.killed);
    if let Some(successor) = &now.successor {
        println!("it was rotated; what has followed it goes on working: vestibule revoke token {successor}");
    }
    let block = match (record.blocks, &record.lifted) {
        (false, _) => "none".to_owned(),
        (true, None) => format!("new tokens are refused until: vestibule revoke lift {}", record.id),
        (true, Some(lifted)) => format!("lifted {}", at(lifted.at)),
    };
    println!("block: {block}");
    match (record.contain, record.contained_at) {
        (false, _) => {}
        (true, Some(done)) => println!("containment: done {}", at(done)),
        (true, None) => println!("containment: under way; look again with: vestibule revoke show {}", record.id),
    }
    match &now.deeds {
        Some(deeds) => print_deeds(deeds),
        None => {
            println!("what they did could not be read in time; look again with: vestibule revoke show {}", record.id)
        }
    }
    match &now.holdings {
        Some(holdings) => print_holdings(holdings),
        None => println!("what was uploaded could not be counted in time"),
    }
}

fn print_deeds(deeds: &Deeds) {
    let most = if deeds.complete { "" } else { " of late" };
    println!("what {} token(s) did{most}:", deeds.tokens);
    for deed in &deeds.acts {
        let outcome = if deed.outcome == Outcome::Allowed { "allowed" } else { "refused" };
        println!("  {:>7} {} {outcome}, {} to {}", deed.count, deed.action, at(deed.first), at(deed.last));
    }
    if let Some(end) = deeds.downloads_end {
        println!("  download URLs from before may work until {}", at(end));
    }
}

fn print_holdings(holdings: &Holdings) {
    let all: u64 = holdings.states.values().sum();
    let states: Vec<String> =
        holdings.states.iter().map(|(state, count)| format!("{count} {}", state.as_str())).collect();
    let more = if holdings.complete { "" } else { " and more" };
    println!("uploaded under it: {all} object(s){more} {}", states.join(", "));
    if let Some(end) = holdings.uploads_end {
        println!("  upload URLs from before may work until {}", at(end));
    }
}

fn table(records: &[RevocationRecord]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["id", "of", "at", "by", "tokens", "block", "containment", "reason"]);
    for record in records {
        let block = match (record.blocks, &record.lifted) {
            (false, _) => String::new(),
            (true, None) => "in force".to_owned(),
            (true, Some(lifted)) => format!("lifted {}", at(lifted.at)),
        };
        let containment = match (record.contain, record.contained_at) {
            (false, _) => String::new(),
            (true, None) => "under way".to_owned(),
            (true, Some(done)) => format!("done {}", at(done)),
        };
        table.add_row([
            record.id.to_string(),
            record.target.to_string(),
            at(record.at),
            record.by.clone(),
            record.killed.to_string(),
            block,
            containment,
            record.reason.clone(),
        ]);
    }
    table
}
