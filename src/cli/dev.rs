//! `vestibule dev`: everything on this machine, in one directory.
//!
//! SQLite, the store inside the process, the example policies (yours to edit: they are written once), and a clamd that is
//! found or started. A second start on the same directory works on with what is there, on the same ports where they are
//! still free, so that URLs handed out before go on working.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::app::{App, NewToken};
use crate::clock::Clock;
use crate::config::{self, TlsConfig};
use crate::domain::admin::AdminRoles;
use crate::domain::principal::Environment;
use crate::startup::Application;
use crate::telemetry;

use super::{Failure, scanner, token};

#[derive(clap::Args)]
pub(super) struct Dev {
    /// Where everything lies; made where it is missing.
    #[arg(long)]
    data: PathBuf,
    /// Print one line of JSON when ready, and nothing else on standard output.
    #[arg(long)]
    json: bool,
}

/// The one line that `--json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    public: String,
    admin: String,
    storage: String,
    token: String,
    admin_token: String,
}

/// The example policies, as they lie in `policies/`; only targets and limits differ.
const POLICIES: [(&str, &str); 9] = [
    ("targets.toml", include_str!("dev/targets.toml")),
    ("classifications.toml", include_str!("../../policies/classifications.toml")),
    ("base.cedar", include_str!("../../policies/base.cedar")),
    ("limits.toml", include_str!("dev/limits.toml")),
    ("owners.toml", include_str!("../../policies/owners.toml")),
    ("access.toml", include_str!("../../policies/access.toml")),
    ("apps/where2eat.toml", include_str!("../../policies/apps/where2eat.toml")),
    ("apps/finance-invoices.toml", include_str!("../../policies/apps/finance-invoices.toml")),
    ("apps/clinic-forms.toml", include_str!("../../policies/apps/clinic-forms.toml")),
];

impl Dev {
    pub(super) async fn run(self) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.data).map_err(|error| Failure::Io(self.data.display().to_string(), error))?;
        let data = self.data.canonicalize().map_err(|error| Failure::Io(self.data.display().to_string(), error))?;
        write_policies(&data)?;
        let file = settle_config(&data)?;
        let mut config = config::load(Some(&file))?;
        let telemetry = telemetry::init(&config.telemetry)?;
        let scanner = scanner::find_or_start(&data, &config).await.map_err(Failure::Told)?;
        config.scanner.addresses = scanner.addresses.clone();
        if !self.json {
            eprintln!("scanner: {} ({})", scanner::list(&scanner.addresses), scanner.signatures);
        }

        let clock = Clock::system();
        let schemes = [scheme(config.public.tls.as_ref()), scheme(config.admin.tls.as_ref())];
        let application = Application::build(config, clock, Some(telemetry.metrics.clone())).await?;
        application.probe().await;
        let ready = ready(&application, schemes).await?;
        if self.json {
            let line = serde_json::to_string(&ready).map_err(|error| Failure::Told(error.to_string()))?;
            println!("{line}");
        } else {
            println!("public   {}\nadmin    {}\nstorage  {}", ready.public, ready.admin, ready.storage);
            println!("token    {}\nadmin token {}", ready.token, ready.admin_token);
        }
        let result = Box::pin(application.run_until_stopped(CancellationToken::new())).await;
        scanner.stop().await;
        Ok(result?)
    }
}

/// The directory's configuration file. Written once, then yours to edit; only ports that are taken by now are changed.
fn settle_config(data: &Path) -> Result<PathBuf, Failure> {
    let path = data.join("vestibule.toml");
    let text = if path.exists() {
        std::fs::read_to_string(&path).map_err(|error| Failure::Io(path.display().to_string(), error))?
    } else {
        TEMPLATE.replace("@DATA@", &data.display().to_string())
    };
    let mut document: toml_edit::DocumentMut =
        text.parse().map_err(|error| Failure::Told(format!("{}: {error}", path.display())))?;
    for section in ["public", "admin", "embedded"] {
        let Some(listen) = document.get_mut(section).and_then(|table| table.get_mut("listen")) else { continue };
        let Some(address) = listen.as_str().and_then(|text| text.parse::<SocketAddr>().ok()) else { continue };
        *listen = toml_edit::value(free(address).to_string());
    }
    std::fs::write(&path, document.to_string()).map_err(|error| Failure::Io(path.display().to_string(), error))?;
    Ok(path)
}

const TEMPLATE: &str = include_str!("dev/vestibule.toml");

/// The address where its port is free, else the same with a port that is.
fn free(address: SocketAddr) -> SocketAddr {
    let taken = |port| TcpListener::bind((address.ip(), port)).and_then(|socket| socket.local_addr());
    taken(address.port()).or_else(|_| taken(0)).unwrap_or(address)
}

fn write_policies(data: &Path) -> Result<(), Failure> {
    let dir = data.join("policies");
    if dir.exists() {
        return Ok(());
    }
    let fail = |path: &Path, error| Failure::Io(path.display().to_string(), error);
    std::fs::create_dir_all(dir.join("apps")).map_err(|error| fail(&dir, error))?;
    for (name, text) in POLICIES {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|error| fail(&path, error))?;
    }
    Ok(())
}

/// Tokens are kept as hashes only, so that each start makes new ones; those of earlier starts go on working for a week.
async fn ready(application: &Application, [public, admin]: [&str; 2]) -> Result<Ready, Failure> {
    let app = application.app();
    let expires_at = Some(app.clock.now() + jiff::SignedDuration::from_hours(7 * 24));
    let workflow = NewToken::Workflow {
        app: "where2eat".parse().map_err(|error| Failure::Told(format!("{error}")))?,
        workflow: "dev".parse().map_err(|error| Failure::Told(format!("{error}")))?,
        owner: None,
        environment: Environment::Live,
        scopes: Vec::new(),
        subject: None,
        binding: None,
        expires_at,
    };
    let operator = NewToken::Operator { name: "dev".into(), roles: AdminRoles::admin(), expires_at };
    Ok(Ready {
        public: format!("{public}://{}", application.public_address()),
        admin: format!("{admin}://{}", application.admin_address()),
        storage: application
            .embedded()
            .map_or_else(String::new, |embedded| format!("http://{}", embedded.local_addr())),
        token: create(app, workflow).await?,
        admin_token: create(app, operator).await?,
    })
}

fn scheme(tls: Option<&TlsConfig>) -> &'static str {
    if tls.is_some() { "https" } else { "http" }
}

async fn create(app: &App, new: NewToken) -> Result<String, Failure> {
    let created = app.create_token(&token::context(app), &token::operator(), Ok(new)).await?;
    Ok(created.token.expose().to_owned())
}
