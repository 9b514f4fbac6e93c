//! `vestibule token`: the same acts as on the admin listener, for whoever can open the database.

use std::time::Duration;

use clap::Subcommand;
use comfy_table::Table;
use jiff::Timestamp;

use crate::app::{App, NewToken, RequestContext, Rotation, Targets};
use crate::clock::Clock;
use crate::domain::admin::{AdminRole, AdminRoles};
use crate::domain::ids::{AppName, OwnerName, RoleName, TokenId, WorkflowName};
use crate::domain::principal::{Environment, Operator, Subject};
use crate::domain::scope::Scope;
use crate::policy::parse_life;
use crate::startup;
use crate::store::{TokenHolder, TokenOrigin, TokenQuery, TokenRecord};

use super::bind::Bind;
use super::into::Into;
use super::{ConfigFile, Failure};

#[derive(clap::Args)]
pub(super) struct TokenCommand {
    #[command(flatten)]
    file: ConfigFile,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Make a token and print it, once.
    Create(Box<Create>),
    /// List tokens, newest first, without secrets.
    List {
        /// Which ones: provisioned, exchanged or derived.
        #[arg(long, default_value = "provisioned", value_parser = origin)]
        origin: TokenOrigin,
        /// Only those that are neither revoked nor past their end.
        #[arg(long)]
        in_force: bool,
        /// How many at most.
        #[arg(long, default_value_t = 10_000)]
        limit: u16,
    },
    /// Make a token that takes the place of another one; both work until the window ends.
    Rotate {
        /// The token's id, the part after vst_live_ and before the next _.
        id: TokenId,
        /// How long both work, for example 24h; as access.toml says where absent.
        #[arg(long, value_parser = parse_life)]
        window: Option<Duration>,
        /// When the new one stops working; after as long a life as the old one was given where absent.
        #[arg(long)]
        expires_at: Option<Timestamp>,
        #[command(flatten)]
        into: Into,
    },
    /// Revoke a token; effective on every node within a second.
    Revoke {
        /// The token's id, the part after vst_live_ and before the next _.
        id: TokenId,
        /// Why; goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(clap::Args)]
struct Create {
    /// The app; must have a manifest.
    #[arg(long, required_unless_present = "operator", requires = "workflow")]
    app: Option<AppName>,
    /// The workflow that will hold the token.
    #[arg(long)]
    workflow: Option<WorkflowName>,
    /// Who answers for it; the manifest's owner where absent.
    #[arg(long)]
    owner: Option<OwnerName>,
    /// Make a test token, which never reaches a live target.
    #[arg(long)]
    test: bool,
    /// A scope; may be given several times. Everything of the app where absent.
    #[arg(long = "scope")]
    scopes: Vec<Scope>,
    /// The person on whose behalf the workflow acts: the stable id at the identity provider.
    #[arg(long)]
    user: Option<String>,
    /// What that person is to the organisation, for example clinician.
    #[arg(long, requires = "user")]
    role: Option<RoleName>,
    /// The project that the person works in.
    #[arg(long, requires = "user")]
    project: Option<String>,
    /// The device that the person acts from.
    #[arg(long, requires = "user")]
    device: Option<String>,
    /// The device has been attested as one of the organisation's.
    #[arg(long, requires = "device")]
    device_attested: bool,
    #[command(flatten)]
    bind: Bind,
    /// When the token stops working, for example 2027-01-31T00:00:00Z; where absent, a workflow's after the max_token_ttl of
    /// access.toml and an operator's never.
    #[arg(long)]
    expires_at: Option<Timestamp>,
    /// Make an admin token for an operator of this name instead.
    #[arg(long, conflicts_with_all = ["app", "workflow", "owner", "test", "scopes", "user", "bind_jkt", "bind_certificate"])]
    operator: Option<String>,
    /// What the operator may do: viewer, reviewer, provisioner or admin; may be given several times. Admin where absent.
    #[arg(long = "admin-role", value_name = "ROLE", requires = "operator")]
    roles: Vec<AdminRole>,
}

fn origin(name: &str) -> Result<TokenOrigin, String> {
    TokenOrigin::from_name(name).ok_or_else(|| "must be provisioned, exchanged or derived".to_owned())
}

/// Who acts on the command line: the user of the operating system.
pub(super) fn operator() -> Operator {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".into());
    Operator { token: None, name: format!("cli:{user}"), targets: vec![], roles: AdminRoles::admin() }
}

/// The circumstances of an act on the command line.
pub(super) fn context(app: &App) -> RequestContext {
    RequestContext::command_line(format!("cli_{}", app.clock.uuid().simple()), app.clock.now())
}

impl TokenCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut config = self.file.load()?;
        // Standard output is for the token; the table has the entry.
        config.audit.json_lines = config.audit.json_lines.filter(|sink| sink != "stdout");
        let app = startup::core(&config, Targets::default(), String::new(), Clock::system()).await?.app;
        let who = operator();
        let context = context(&app);
        match self.act {
            Act::Create(create) => {
                let created = app.create_token(&context, &who, Ok(create.new_token()?)).await?;
                eprintln!("the token is shown now and never again; its id is {}", created.record.id);
                println!("{}", created.token.expose());
            }
            Act::List { origin, in_force, limit } => {
                let in_force_at = in_force.then(|| app.clock.now());
                let origin = Some(origin);
                let query = TokenQuery { origin, in_force_at, limit: usize::from(limit), ..TokenQuery::default() };
                let (tokens, next) = app.list_tokens(&context, &who, Ok((query, None))).await?;
                println!("{}", table(&tokens));
                if next.is_some() {
                    eprintln!("there are more; --limit shows up to 65,535");
                }
            }
            Act::Rotate { id, window, expires_at, into } => {
                let rotation = Rotation { window, expires_at };
                let rotated = app.rotate_token(&context, &who, Ok(id.clone()), Ok(rotation)).await?;
                let end = rotated.old_ends_at;
                if let Err(error) = into.deliver(&app, &context, &who, &rotated.created).await {
                    eprintln!("token {id} ends at {end:.0} all the same; rotate it again before");
                    return Err(error);
                }
                eprintln!("token {id} works until {end:.0}");
            }
            Act::Revoke { id, reason } => {
                let revoked = app.revoke_token(&context, &who, &id, reason).await?;
                eprintln!("revoked {id}; what it did: vestibule revoke show {}", revoked.record.id);
                if let Some(successor) = revoked.successor {
                    eprintln!(
                        "it was rotated; what has followed it goes on working: vestibule token revoke {successor}"
                    );
                }
            }
        }
        Ok(())
    }
}

impl Create {
    fn new_token(self) -> Result<NewToken, Failure> {
        if let Some(name) = self.operator {
            let roles = if self.roles.is_empty() { AdminRoles::admin() } else { self.roles.into() };
            return Ok(NewToken::Operator { name, roles, expires_at: self.expires_at });
        }
        let (Some(app), Some(workflow)) = (self.app, self.workflow) else {
            return Err(Failure::Told("give --app and --workflow, or --operator".into()));
        };
        let subject = self.user.map(|user| Subject {
            user,
            role: self.role,
            project: self.project,
            device: self.device,
            device_attested: self.device_attested,
        });
        Ok(NewToken::Workflow {
            app,
            workflow,
            owner: self.owner,
            environment: if self.test { Environment::Test } else { Environment::Live },
            scopes: self.scopes,
            subject,
            binding: self.bind.binding()?,
            expires_at: self.expires_at,
        })
    }
}

fn table(records: &[TokenRecord]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "id",
        "for",
        "environment",
        "owner",
        "acts for",
        "bound to",
        "created",
        "expires",
        "last used",
        "revoked",
        "followed by",
    ]);
    for record in records {
        let (holder, environment, owner, subject) = match &record.holder {
            TokenHolder::Workflow { app, workflow, owner, environment, subject, .. } => {
                (format!("{app}/{workflow}"), environment.as_str(), owner.to_string(), subject.as_ref())
            }
            TokenHolder::Operator { name, roles } => {
                (format!("operator {name} ({roles})"), "admin", String::new(), None)
            }
        };
        let subject = subject.map_or_else(String::new, |subject| match &subject.role {
            Some(role) => format!("{} ({role})", subject.user),
            None => subject.user.clone(),
        });
        let at = |time: Option<Timestamp>| time.map_or_else(String::new, |time| format!("{time:.0}"));
        table.add_row([
            record.id.to_string(),
            holder,
            environment.to_owned(),
            owner,
            subject,
            record.binding.map_or("", |binding| binding.possession().as_str()).to_owned(),
            at(Some(record.created_at)),
            at(record.expires_at),
            at(record.last_used_at),
            at(record.revoked_at),
            record.successor.as_ref().map_or_else(String::new, ToString::to_string),
        ]);
    }
    table
}
