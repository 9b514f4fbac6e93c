//! `vestibule quota audit`: are the quotas' counts right, and do the buckets hold what the records say?
//!
//! Runs beside the gateway or without it, and removes nothing. Exit code 1 where something differs.

use clap::Subcommand;
use comfy_table::Table;
use serde_json::{Value, json};

use crate::app::{BucketFinding, QuotaAudit, QuotaAuditQuery, Targets};
use crate::clock::Clock;
use crate::domain::ids::AppName;
use crate::domain::key::Area;
use crate::domain::quota::QuotaKind;
use crate::startup;
use crate::store::UsageRow;

use super::{ConfigFile, Failure, token};

#[derive(Subcommand)]
pub(super) enum QuotaCommand {
    /// Compare what is counted with the records, and the records with what the buckets hold.
    Audit {
        #[command(flatten)]
        file: ConfigFile,
        /// Look at this app alone.
        #[arg(long)]
        app: Option<AppName>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Put counts right that differ from the records; never touches bytes.
        #[arg(long)]
        repair: bool,
    },
}

impl QuotaCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let QuotaCommand::Audit { file, app, json, repair } = self;
        let mut config = file.load()?;
        // Standard output is for the report; the table has the entries.
        config.audit.json_lines = config.audit.json_lines.filter(|sink| sink != "stdout");
        let core = startup::core(&config, Targets::default(), String::new(), Clock::system()).await?.app;
        let open = startup::look_at_targets(&core.policies.current(), &config, &core.clock).await;
        core.targets.replace(open.map_err(startup::StartError::Targets)?);
        let context = token::context(&core);
        let query = QuotaAuditQuery { app, repair };
        let found = core.audit_quotas(&context, &token::operator(), &query).await?;
        if json {
            println!("{:#}", as_json(&found));
        } else {
            print(&found);
        }
        if found.is_good() {
            return Ok(());
        }
        Err(Failure::Told("something differs; docs/operations.md says what to do".into()))
    }
}

/// The quotas that the records say something about.
fn summed() -> impl Iterator<Item = QuotaKind> {
    QuotaKind::ALL.into_iter().filter(|kind| *kind != QuotaKind::DownloadBytesMonth)
}

fn counted(row: &UsageRow, kind: QuotaKind) -> u64 {
    row.counted.used(kind, row.missing.issued_at)
}

fn print(found: &QuotaAudit) {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["of", "name", "quota", "counted", "recorded"]);
    let mut differing = 0;
    for row in found.differing() {
        differing += 1;
        for kind in summed().filter(|kind| counted(row, *kind) != row.summed(*kind)) {
            let (counted, recorded) = (counted(row, kind).to_string(), row.summed(kind).to_string());
            let holder = row.holder.kind().as_str();
            table.add_row([holder, row.holder.name(), kind.key(), counted.as_str(), recorded.as_str()]);
        }
    }
    let all = found.usage.len();
    match (differing, found.repaired) {
        (0, _) => println!("usage: {all} apps and owners are counted right"),
        (differing, true) => println!("usage: {differing} of {all} apps and owners were put right\n{table}"),
        (differing, false) => {
            println!("usage: {differing} of {all} apps and owners differ; --repair puts them right\n{table}")
        }
    }
    for (name, bucket) in &found.buckets {
        println!("target {name}: {} visible objects, {} bytes", bucket.objects, bucket.bytes);
        for finding in &bucket.findings {
            match finding {
                BucketFinding::Missing { object, key, size } => println!("  missing    {key}: {object}, {size} bytes"),
                BucketFinding::OtherSize { object, key, recorded, found } => {
                    println!("  other size {key}: {object}, {found} bytes, recorded {recorded}");
                }
                BucketFinding::Unknown { key, size, .. } => println!("  unknown    {key}: {size} bytes"),
            }
        }
        let unknown = unknown_bytes(&bucket.findings);
        if unknown > 0 {
            println!("  {unknown} bytes that no record explains");
        }
        if let Some(why) = &bucket.unreadable {
            println!("  could not be looked at: {why}");
        }
    }
}

fn unknown_bytes(findings: &[BucketFinding]) -> u64 {
    findings.iter().map(|finding| if let BucketFinding::Unknown { size, .. } = finding { *size } else { 0 }).sum()
}

fn as_json(found: &QuotaAudit) -> Value {
    let usage = |row: &UsageRow| {
        let quotas = summed().map(|kind| {
            (kind.key().to_owned(), json!({ "counted": counted(row, kind), "recorded": row.summed(kind) }))
        });
        json!({
            "holder": row.holder.kind().as_str(),
            "name": row.holder.name(),
            "differs": !row.missing.is_nothing(),
            "quotas": quotas.collect::<serde_json::Map<_, _>>(),
        })
    };
    let finding = |finding: &BucketFinding| match finding {
        BucketFinding::Missing { object, key, size } => {
            json!({ "finding": "missing", "objectId": object.to_string(), "key": key, "size": size })
        }
        BucketFinding::OtherSize { object, key, recorded, found } => {
            let id = object.to_string();
            json!({ "finding": "otherSize", "objectId": id, "key": key, "size": found, "recorded": recorded })
        }
        BucketFinding::Unknown { area, key, size } => {
            let area = if *area == Area::Staging { "staging" } else { "served" };
            json!({ "finding": "unknown", "area": area, "key": key, "size": size })
        }
    };
    let targets = found.buckets.iter().map(|(name, bucket)| {
        let report = json!({
            "objects": bucket.objects,
            "bytes": bucket.bytes,
            "unknownBytes": unknown_bytes(&bucket.findings),
            "findings": bucket.findings.iter().map(finding).collect::<Vec<_>>(),
            "unreadable": bucket.unreadable,
        });
        (name.to_string(), report)
    });
    json!({
        "good": found.is_good(),
        "repaired": found.repaired,
        "usage": found.usage.iter().map(usage).collect::<Vec<_>>(),
        "targets": targets.collect::<serde_json::Map<_, _>>(),
    })
}
