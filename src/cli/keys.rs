//! `vestibule keys`: the gateway's own keys, for whoever can open the database.

use std::time::Duration;

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use comfy_table::Table;
use secrecy::ExposeSecret;

use crate::app::Targets;
use crate::clock::Clock;
use crate::policy::parse_life;
use crate::startup;
use crate::store::{GatewayKey, KeyPurpose};

use super::{ConfigFile, Failure, token};

#[derive(clap::Args)]
pub(super) struct KeysCommand {
    #[command(flatten)]
    file: ConfigFile,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// List every key, without secrets.
    List,
    /// Make a new key, which every node uses within a second; the one before is accepted until the window ends.
    Rotate {
        /// What the key is for.
        #[arg(value_parser = PossibleValuesParser::new(KeyPurpose::ALL.map(KeyPurpose::as_str)))]
        purpose: String,
        /// How long what the key before made is still accepted, for example 24h; an hour for token-signing, ten minutes for
        /// dpop-nonce and a day for eventgrid where absent.
        #[arg(long, value_parser = parse_life)]
        window: Option<Duration>,
    },
}

impl KeysCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut config = self.file.load()?;
        // Standard output is for the key; the table has the entry.
        config.audit.json_lines = config.audit.json_lines.filter(|sink| sink != "stdout");
        let app = startup::core(&config, Targets::default(), String::new(), Clock::system()).await?.app;
        let (who, context) = (token::operator(), token::context(&app));
        match self.act {
            Act::List => println!("{}", table(&app.list_keys(&context, &who).await?)),
            Act::Rotate { purpose, window } => {
                let purpose = KeyPurpose::from_name(&purpose).ok_or_else(|| Failure::Told("no such key".into()))?;
                let rotated = app.rotate_key(&context, &who, Ok((purpose, window))).await?;
                eprintln!("{} is in use from now on", rotated.key.id);
                if let Some((id, until)) = rotated.previous {
                    eprintln!("{id} is accepted until {until:.0}");
                }
                if let Some(secret) = rotated.secret {
                    eprintln!("set the delivery property x-vestibule-event-key of the event subscription to:");
                    println!("{}", secret.expose_secret());
                }
            }
        }
        Ok(())
    }
}

fn table(keys: &[GatewayKey]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["purpose", "number", "id", "made", "accepted until"]);
    for key in keys {
        table.add_row([
            key.purpose.as_str().to_owned(),
            key.number.to_string(),
            key.id.to_string(),
            format!("{:.0}", key.created_at),
            key.accepted_until.map_or_else(|| "in use".to_owned(), |until| format!("{until:.0}")),
        ]);
    }
    table
}
