//! `vestibule policy diff OLD NEW`: which of the requests on record would be answered otherwise.

use std::path::PathBuf;

use comfy_table::{Table, presets};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::app::{DiffWindow, PolicyDiff, policy_diff};
use crate::cli::{ConfigFile, Failure};
use crate::clock::Clock;
use crate::policy::PolicySet;
use crate::startup;

use super::{methods, mistakes};

/// Ask two policy directories about the requests of the audit trail, and print whose answer changes.
///
/// Reads the database of the configuration and writes nothing. Quotas, rate limits and the states of objects are not asked
/// again. Ends with exit code 1 where an answer changes.
#[derive(clap::Args)]
pub(in crate::cli) struct Diff {
    /// The policy directory that is in force.
    old: PathBuf,
    /// The one that shall be.
    new: PathBuf,
    #[command(flatten)]
    file: ConfigFile,
    /// How far to look back, for example 24h or 7d.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: Span,
    /// How many requests at most, the newest.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    limit: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let config = self.file.load()?;
        let load = |dir: &PathBuf| PolicySet::load(dir).map_err(|found| mistakes(&dir.display().to_string(), &found));
        let (old, new) = (load(&self.old)?, load(&self.new)?);
        let clock = Clock::system();
        let store = startup::open_store_as_it_is(&config, &clock).await?;
        let window = DiffWindow { since: Some(before(clock.now(), self.since)?), limit: self.limit };
        let diff = policy_diff(&*store, (&old, &new), methods, window).await?;
        if self.json {
            let text = serde_json::to_string_pretty(&diff).map_err(|error| Failure::Told(error.to_string()))?;
            println!("{text}");
        } else {
            print(&diff);
        }
        match diff.replayed - diff.same {
            0 => Ok(()),
            changed => {
                Err(Failure::Told(format!("{changed} of {} requests would be answered otherwise", diff.replayed)))
            }
        }
    }
}

/// Days and weeks are those of UTC.
fn before(now: Timestamp, span: Span) -> Result<Timestamp, Failure> {
    let then = now.to_zoned(TimeZone::UTC).checked_sub(span.abs());
    then.map(|then| then.timestamp()).map_err(|error| Failure::Told(format!("--since: {error}")))
}

fn print(diff: &PolicyDiff) {
    if !diff.changes.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["count", "app/workflow", "action", "old answer", "new answer", "for example"]);
        for change in &diff.changes {
            let example = &change.example;
            let id = example.request_id.as_ref().or(example.object_id.as_ref());
            table.add_row([
                change.count.to_string(),
                format!("{}/{}", change.app, change.workflow),
                change.action.to_owned(),
                change.old.clone(),
                change.new.clone(),
                format!("{:.0} {}", example.time, id.map_or("", String::as_str)),
            ]);
        }
        println!("{}", table.trim_fmt());
        for change in &diff.changes {
            if let (Some(rule), Some(detail)) = (&change.example.rule, &change.example.detail) {
                println!("{} → {}: {rule}\n    {detail}", change.old, change.new);
            }
        }
    }
    println!(
        "{} requests replayed: {} answered alike, {} otherwise",
        diff.replayed,
        diff.same,
        diff.replayed - diff.same
    );
    if diff.drifted > 0 {
        println!(
            "{} of them were allowed then and the old directory refuses them: it is not what was in force",
            diff.drifted
        );
    }
    for (why, count) in &diff.not_replayed {
        println!("{count} not replayed: {why}");
    }
    println!("quotas, rate limits and the states of objects were not asked again");
}
