//! `vestibule access`: ask for access, decide, claim, review; the same acts as over HTTP, for whoever can open the database.

use clap::Subcommand;
use comfy_table::Table;
use jiff::Timestamp;

use crate::app::{
    AccessDecision, AccessReview, App, Finding, NewAccessRequest, RequestContext, Requested, ReviewQuery, Targets,
    review_csv,
};
use crate::clock::Clock;
use crate::domain::access::{AccessRequest, AccessState, AccessStateName};
use crate::domain::ids::{AccessRequestId, AppName, OwnerName, TokenId, WorkflowName};
use crate::domain::principal::{Environment, Operator};
use crate::domain::scope::Scope;
use crate::http;
use crate::startup;
use crate::store::{AccessQuery, TokenHolder};

use super::bind::Bind;
use super::claim::{claim as claim_from, is_link};
use super::into::Into;
use super::{ConfigFile, Failure, token};

#[derive(clap::Args)]
pub(super) struct AccessCommand {
    #[command(flatten)]
    file: ConfigFile,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Ask for a token, or for other scopes than a token has.
    Request(Request),
    /// List requests, newest first.
    List {
        /// Only in this state: pending, approved, claimed or denied.
        #[arg(long, value_parser = state)]
        state: Option<AccessStateName>,
        /// Only of this app.
        #[arg(long)]
        app: Option<AppName>,
        /// How many at most.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Approve a request and print its claim link, once; not one's own, unless access.toml says so.
    Approve {
        /// The request.
        id: AccessRequestId,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Claim the token at once and hand it over.
        #[command(flatten)]
        into: Into,
    },
    /// Deny a request, or take back an approval that nobody has claimed.
    Deny {
        /// The request.
        id: AccessRequestId,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Spend a claim link: print the token, once, or hand it over. A whole link goes to the gateway that it names, so that no
    /// configuration is needed.
    Claim {
        /// The link, or its secret alone where the database can be opened.
        link: String,
        #[command(flatten)]
        into: Into,
    },
    /// Report who has what, and what of it should go.
    Review {
        /// Days without use after which a token counts as unused.
        #[arg(long, default_value_t = ReviewQuery::default().unused_days, value_parser = clap::value_parser!(u16).range(0..=3650))]
        unused_days: u16,
        /// Days before its end from which on a token counts as expiring.
        #[arg(long, default_value_t = ReviewQuery::default().expiring_days, value_parser = clap::value_parser!(u16).range(0..=3650))]
        expiring_days: u16,
        /// Print JSON.
        #[arg(long, conflicts_with = "csv")]
        json: bool,
        /// Print CSV.
        #[arg(long)]
        csv: bool,
    },
}

#[derive(clap::Args)]
struct Request {
    /// The app; must have a manifest.
    #[arg(long, required_unless_present = "changes", requires = "workflow")]
    app: Option<AppName>,
    /// The workflow that will hold the token.
    #[arg(long)]
    workflow: Option<WorkflowName>,
    /// Who answers for it; the manifest's owner where absent.
    #[arg(long)]
    owner: Option<OwnerName>,
    /// For trying things out: the token never reaches a live target.
    #[arg(long)]
    test: bool,
    /// What the token should allow; may be given several times.
    #[arg(long = "scope", required = true)]
    scopes: Vec<Scope>,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// When the token should stop working, for example 2027-01-31T00:00:00Z.
    #[arg(long)]
    expires_at: Option<Timestamp>,
    /// The token whose scopes should change; claiming gives a new one and ends this one after a window.
    #[arg(long, conflicts_with_all = ["app", "test"])]
    changes: Option<TokenId>,
    #[command(flatten)]
    bind: Bind,
    #[command(flatten)]
    into: Into,
}

fn state(name: &str) -> Result<AccessStateName, String> {
    let found = AccessStateName::from_name(name).filter(|state| *state != AccessStateName::Lapsed);
    found.ok_or_else(|| "must be pending, approved, claimed or denied".to_owned())
}

impl AccessCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if let Act::Claim { link, into } = &self.act
            && is_link(link)
        {
            return claim_from(link, into).await;
        }
        let mut config = self.file.load()?;
        // Standard output is for links, tokens and reports; the table has the entries.
        config.audit.json_lines = config.audit.json_lines.filter(|sink| sink != "stdout");
        let url = startup::public_url(&config, config.public.listen);
        let app = startup::core(&config, Targets::default(), url, Clock::system()).await?.app;
        let (context, who) = (token::context(&app), token::operator());
        match self.act {
            Act::Request(request) => {
                let into = Into { into: request.into.into.clone() };
                let requested = app.request_access(&context, &who, Ok(request.new_request()?)).await?;
                let (id, state) = (requested.request.id, requested.request.state.name().as_str());
                eprintln!("access request {id} is {state}");
                if requested.claim.is_none() {
                    println!("{id}");
                    if into.into.is_some() {
                        eprintln!("somebody decides on it first; then: vestibule access approve {id} --into …");
                    }
                    return Ok(());
                }
                hand_out(&app, &context, &who, &requested, &into).await
            }
            Act::List { state, app: of, limit } => {
                let query = AccessQuery { state, app: of, before: None, limit: usize::from(limit) };
                let page = app.list_access(&context, &who, Ok(query)).await?;
                println!("{}", table(&page.requests));
                Ok(())
            }
            Act::Approve { id, reason, into } => {
                let approve = AccessDecision::Approve;
                let requested = app.decide_access(&context, &who, Ok(id), Ok(reason), approve).await?;
                hand_out(&app, &context, &who, &requested, &into).await
            }
            Act::Deny { id, reason } => {
                app.decide_access(&context, &who, Ok(id), Ok(reason), AccessDecision::Deny).await?;
                eprintln!("denied {id}");
                Ok(())
            }
            Act::Claim { link, into } => claim(&app, &context, &who, &link, &into).await,
            Act::Review { unused_days, expiring_days, json, csv } => {
                let query = ReviewQuery { unused_days, expiring_days };
                let review = app.review_access(&context, &who, Ok(query)).await?;
                match (json, csv) {
                    (true, _) => println!("{:#}", http::review_json(&review)),
                    (_, true) => print!("{}", review_csv(&review)),
                    _ => print_review(&review),
                }
                Ok(())
            }
        }
    }
}

/// Prints the claim link of what was approved, or claims at once for the command.
async fn hand_out(
    app: &App,
    context: &RequestContext,
    who: &Operator,
    requested: &Requested,
    into: &Into,
) -> Result<(), Failure> {
    let Some(link) = &requested.claim else { return Ok(()) };
    if into.into.is_some() {
        return claim(app, context, who, link.secret(), into).await;
    }
    eprintln!("the link works once, until {:.0}; whoever opens it and presses the button gets the token", link.ends_at);
    println!("{}", link.address(&app.settings.public_url));
    Ok(())
}

async fn claim(app: &App, context: &RequestContext, who: &Operator, secret: &str, into: &Into) -> Result<(), Failure> {
    let claimed = app.claim_token(context, Some(who), secret).await?;
    let delivered = into.deliver(app, context, who, &claimed.created).await;
    if let Some((old, at)) = &claimed.replaces {
        eprintln!("token {old} works until {at:.0}");
    }
    delivered
}

impl Request {
    fn new_request(self) -> Result<NewAccessRequest, Failure> {
        let environment = if self.test { Environment::Test } else { Environment::Live };
        Ok(NewAccessRequest {
            environment: self.changes.is_none().then_some(environment),
            app: self.app,
            workflow: self.workflow,
            owner: self.owner,
            scopes: self.scopes,
            reason: self.reason,
            expires_at: self.expires_at,
            changes: self.changes,
            binding: self.bind.binding()?,
        })
    }
}

fn plain<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    table
}

fn table(requests: &[AccessRequest]) -> Table {
    let mut table = plain(["id", "state", "for", "environment", "owner", "asked by", "decided by", "token", "reason"]);
    for request in requests {
        let asked = &request.asked;
        let token = match &request.state {
            AccessState::Claimed { token, .. } => token.to_string(),
            _ => asked.changes.as_ref().map_or_else(String::new, |token| format!("changes {token}")),
        };
        let decision = request.state.decision();
        table.add_row([
            request.id.to_string(),
            request.state.name().as_str().to_owned(),
            format!("{}/{}", asked.app, asked.workflow),
            asked.environment.as_str().to_owned(),
            asked.owner.to_string(),
            request.by.clone(),
            decision.map_or_else(String::new, |decision| decision.rule.clone().unwrap_or_else(|| decision.by.clone())),
            token,
            request.reason.clone(),
        ]);
    }
    table
}

fn print_review(review: &AccessReview) {
    let mut table = plain(["id", "for", "environment", "owner", "expires", "last used", "findings"]);
    for token in &review.tokens {
        let (holder, environment, owner) = match &token.record.holder {
            TokenHolder::Workflow { app, workflow, owner, environment, .. } => {
                (format!("{app}/{workflow}"), environment.as_str(), owner.to_string())
            }
            TokenHolder::Operator { name, .. } => (format!("operator {name}"), "admin", String::new()),
        };
        let at = |time: Option<Timestamp>| time.map_or_else(|| "never".to_owned(), |time| format!("{time:.0}"));
        let findings: Vec<&str> = token.findings.iter().map(|finding| finding.as_str()).collect();
        table.add_row([
            token.record.id.to_string(),
            holder,
            environment.to_owned(),
            owner,
            at(token.record.expires_at),
            at(token.record.last_used_at),
            findings.join(", "),
        ]);
    }
    println!("{table}");
    let counts = Finding::ALL.map(|finding| format!("{} {}", review.count(finding), finding.as_str()));
    println!("{} tokens: {}", review.tokens.len(), counts.join(", "));
}
