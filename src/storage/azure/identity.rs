//! Who the gateway is, where no account key is configured.
//!
//! The order of Microsoft's own default chain: an application with a secret (`AZURE_CLIENT_SECRET`), workload identity
//! (`AZURE_FEDERATED_TOKEN_FILE`), managed identity, and the Azure CLI on a developer's machine. What gave the first
//! token gives all later ones, so that a gateway never changes its principal while it runs. The variables are those that
//! Microsoft's clients define; they are read once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_identity::{
    ClientSecretCredential, DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential,
};

/// How long one link may take before the next is tried: off Azure, the managed identity's address never answers.
const PATIENCE: Duration = Duration::from_secs(6);

/// The first of its links that gives a token.
#[derive(Debug)]
struct Chain {
    links: Vec<Arc<dyn TokenCredential>>,
    chosen: OnceLock<usize>,
}

/// The default chain.
///
/// # Errors
/// Where a variable names an identity that cannot be used, for example a token file that is not there.
pub(super) fn default_chain() -> azure_core::Result<Arc<dyn TokenCredential>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let client = variable("AZURE_CLIENT_ID");
    let secret = (variable("AZURE_TENANT_ID"), client.clone(), variable("AZURE_CLIENT_SECRET"));
    if let (Some(tenant), Some(client), Some(secret)) = secret {
        return Ok(ClientSecretCredential::new(&tenant, client, Secret::new(secret), None)?);
    }
    if variable("AZURE_FEDERATED_TOKEN_FILE").is_some() {
        return Ok(WorkloadIdentityCredential::new(None)?);
    }
    let managed = ManagedIdentityCredentialOptions {
        user_assigned_id: client.map(UserAssignedId::ClientId),
        ..ManagedIdentityCredentialOptions::default()
    };
    let links: Vec<Arc<dyn TokenCredential>> =
        vec![ManagedIdentityCredential::new(Some(managed))?, DeveloperToolsCredential::new(None)?];
    Ok(Arc::new(Chain { links, chosen: OnceLock::new() }))
}

#[async_trait::async_trait]
impl TokenCredential for Chain {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        if let Some(link) = self.chosen.get().and_then(|&at| self.links.get(at)) {
            return link.get_token(scopes, options).await;
        }
        for (at, link) in self.links.iter().enumerate() {
            if let Ok(Ok(token)) = tokio::time::timeout(PATIENCE, link.get_token(scopes, options.clone())).await {
                let _ = self.chosen.set(at);
                return Ok(token);
            }
        }
        Err(azure_core::Error::with_message(
            ErrorKind::Credential,
            "no application secret, workload identity, managed identity or Azure CLI login",
        ))
    }
}
