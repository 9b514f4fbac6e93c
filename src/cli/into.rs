//! `--into 'COMMAND'`: a token goes straight into the caller's store of secrets.
//!
//! The command gets the token on its standard input, without a line end, and never in its arguments or its environment,
//! which other processes can read. What the token is for stands in the environment, for tags. Where the command fails or is
//! interrupted, the token is revoked: nobody knows where it went.

use std::process::Stdio;

use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, CreatedToken, RequestContext};
use crate::domain::principal::Operator;
use crate::store::{TokenHolder, TokenRecord};

use super::Failure;

/// Where a new token goes.
#[derive(clap::Args)]
pub(super) struct Into {
    /// Give the token to this command on its standard input instead of printing it, for example
    /// 'vault kv put -mount=secret menu-import token=-'. Where the command fails, the token is revoked.
    #[arg(long, value_name = "COMMAND")]
    pub(super) into: Option<String>,
}

/// A token on its way, with what it is for; only the token is secret.
pub(super) struct Parcel {
    pub(super) id: String,
    pub(super) token: SecretString,
    pub(super) tags: Vec<(&'static str, String)>,
}

impl Into {
    /// Prints a token that was made here once, or hands it to the command; revokes it where that fails.
    pub(super) async fn deliver(
        &self,
        app: &App,
        context: &RequestContext,
        who: &Operator,
        created: &CreatedToken,
    ) -> Result<(), Failure> {
        let id = &created.record.id;
        let (token, tags) = (created.token.expose().to_owned().into(), tags(&created.record));
        let reason = Some("its delivery failed".to_owned());
        let revoke = async || match app.revoke_token(context, who, id, reason).await {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal.to_string()),
        };
        self.pass_on(&Parcel { id: id.to_string(), token, tags }, revoke).await
    }

    /// Prints a token once, or hands it to the command; ends it by `revoke` where that fails.
    pub(super) async fn pass_on(
        &self,
        parcel: &Parcel,
        revoke: impl AsyncFnOnce() -> Result<(), String>,
    ) -> Result<(), Failure> {
        let id = &parcel.id;
        let Some(command) = &self.into else {
            eprintln!("the token is shown now and never again; its id is {id}");
            println!("{}", parcel.token.expose_secret());
            return Ok(());
        };
        eprintln!("token {id} is handed to the command");
        let handed_over = tokio::select! {
            handed_over = hand_over(command, parcel) => handed_over,
            () = interrupted() => Err("it was interrupted".to_owned()),
        };
        let Err(why) = handed_over else {
            eprintln!("token {id} was handed to the command");
            return Ok(());
        };
        let end = match revoke().await {
            Ok(()) => format!("token {id} was revoked"),
            Err(error) => format!("token {id} could NOT be revoked, do it by hand ({error})"),
        };
        Err(Failure::Told(format!("{why}; {end}")))
    }
}

/// Returns at SIGINT or SIGTERM; never where nobody can listen for them.
async fn interrupted() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => signal.recv().await,
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        _ = wait(SignalKind::interrupt()) => {}
        _ = wait(SignalKind::terminate()) => {}
    }
}

async fn hand_over(command: &str, parcel: &Parcel) -> Result<(), String> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .envs(parcel.tags.clone())
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("the command could not be started: {error}"))?;
    let Some(mut stdin) = child.stdin.take() else { return Err("the command has no standard input".to_owned()) };
    let written = async {
        stdin.write_all(parcel.token.expose_secret().as_bytes()).await?;
        stdin.shutdown().await
    }
    .await;
    drop(stdin);
    let status = child.wait().await.map_err(|error| format!("the command could not be waited for: {error}"))?;
    if !status.success() {
        return Err(format!("the command failed ({status})"));
    }
    written.map_err(|error| format!("the command did not read the token: {error}"))
}

/// What the token is for; none of it is secret.
fn tags(record: &TokenRecord) -> Vec<(&'static str, String)> {
    let mut tags = vec![("VESTIBULE_TOKEN_ID", record.id.to_string())];
    if let Some(at) = record.expires_at {
        tags.push(("VESTIBULE_EXPIRES_AT", at.to_string()));
    }
    match &record.holder {
        TokenHolder::Workflow { app, workflow, owner, environment, scopes, .. } => {
            let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
            tags.extend([
                ("VESTIBULE_APP", app.to_string()),
                ("VESTIBULE_WORKFLOW", workflow.to_string()),
                ("VESTIBULE_OWNER", owner.to_string()),
                ("VESTIBULE_ENVIRONMENT", environment.as_str().to_owned()),
                ("VESTIBULE_SCOPES", scopes.join(" ")),
            ]);
        }
        TokenHolder::Operator { name, .. } => tags.push(("VESTIBULE_OPERATOR", name.clone())),
    }
    tags
}
