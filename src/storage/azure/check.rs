//! What a container needs, for `vestibule target check`.
//!
//! Only what the data plane tells is judged. Lifecycle rules, event subscriptions and versioning belong to the management
//! plane, which the gateway has no rights on; for those the line names the `az` command that shows or sets them.

use azure_storage_blob::models::{
    BlobContainerClientGetPropertiesResultHeaders, BlobServiceClientGetAccountInfoResultHeaders, CorsRule,
};

use super::AzureStore;
use super::error::call;
use crate::domain::key::Area;
use crate::storage::{CheckItem, CheckStatus, StorageError};

/// A role that the gateway's identity needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleAssignment {
    /// The built-in role's name.
    pub role: &'static str,
    /// Where, below the storage account's resource id; empty for the account itself.
    pub scope: String,
    /// What it is for.
    pub reason: &'static str,
}

impl AzureStore {
    /// The smallest built-in roles that suffice, each for `az role assignment create --role … --scope …`.
    pub fn rbac_roles(&self) -> Vec<RoleAssignment> {
        let scope = |name: &str| format!("blobServices/default/containers/{name}");
        let mut roles = vec![
            RoleAssignment {
                role: "Storage Blob Delegator",
                scope: String::new(),
                reason: "ask for the user delegation keys that sign URLs",
            },
            RoleAssignment {
                role: "Storage Blob Data Owner",
                scope: scope(&self.served.name),
                reason: if self.retention.is_some() {
                    "copy, read, list, delete, tag, and set immutability policies"
                } else {
                    "copy, read, list, delete and tag; Storage Blob Data Contributor suffices without tags"
                },
            },
        ];
        if self.staging.name != self.served.name {
            roles.push(RoleAssignment {
                role: "Storage Blob Data Contributor",
                scope: scope(&self.staging.name),
                reason: "read, list and delete what was uploaded; it also bounds what upload URLs may do",
            });
        }
        roles
    }

    pub(super) async fn checked(&self) -> Vec<CheckItem> {
        let mut items = vec![self.transport(), self.authorisation()];
        let areas: &[Area] =
            if self.staging.name == self.served.name { &[Area::Served] } else { &[Area::Served, Area::Staging] };
        for &area in areas {
            items.extend(self.container_items(area).await);
        }
        items.extend(self.account_items().await);
        items.extend(self.unreadable_items());
        items
    }

    fn transport(&self) -> CheckItem {
        if self.https_only() {
            return item("transport", CheckStatus::Good, "https, and URLs are refused over http (spr=https)");
        }
        let local = matches!(self.endpoint.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        let status = if local { CheckStatus::Advice } else { CheckStatus::Missing };
        item("transport", status, "the endpoint is http: signed URLs and bytes travel unencrypted; use https")
    }

    fn authorisation(&self) -> CheckItem {
        if !self.by_token {
            let detail = "an account key signs everything and cannot be narrowed; leave the target's credentials out to \
                          use Microsoft Entra ID, then: az storage account update --allow-shared-key-access false";
            return item("authorisation", CheckStatus::Advice, detail);
        }
        let roles: Vec<String> = self
            .rbac_roles()
            .into_iter()
            .map(|need| match need.scope.as_str() {
                "" => format!("{} on the account", need.role),
                scope => format!("{} on {scope}", need.role),
            })
            .collect();
        let detail = format!("user delegation keys by Microsoft Entra ID; smallest roles: {}", roles.join(", "));
        item("authorisation", CheckStatus::Good, detail)
    }

    async fn container_items(&self, area: Area) -> Vec<CheckItem> {
        let name = &self.container(area).name;
        let found = match self.container_client(area) {
            Ok(client) => call(client.get_properties(None)).await,
            Err(error) => Err(error),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => return vec![failed(&format!("container {name}"), &error)],
        };
        let mut items = vec![item(&format!("container {name}"), CheckStatus::Good, "answers")];
        let public = format!("public access of {name}");
        items.push(match found.access() {
            Ok(None) => item(&public, CheckStatus::Good, "none"),
            Ok(Some(access)) => item(
                &public,
                CheckStatus::Missing,
                format!(
                    "anonymous reading is on ({access:?}); az storage container set-permission --public-access off"
                ),
            ),
            Err(_) => item(&public, CheckStatus::Unknown, "could not be read"),
        });
        let by_version = matches!(found.is_immutable_storage_with_versioning_enabled(), Ok(Some(true)));
        let held = matches!(found.has_immutability_policy(), Ok(Some(true)))
            || matches!(found.has_legal_hold(), Ok(Some(true)));
        let (status, detail) = self.immutability(area, by_version, held);
        items.push(item(&format!("immutability of {name}"), status, detail));
        items
    }

    /// `by_version`: the container can keep single versions. `held`: it keeps everything by itself.
    fn immutability(&self, area: Area, by_version: bool, held: bool) -> (CheckStatus, String) {
        let shared = self.staging.name == self.served.name;
        if held && (shared || area == Area::Staging) {
            let detail = "staged and infected bytes cannot be deleted; stage into a container without a policy or hold";
            return (CheckStatus::Missing, detail.into());
        }
        match (self.retention.filter(|_| area == Area::Served), by_version, held) {
            (Some(retention), true, _) => (CheckStatus::Good, format!("by version; served copies are kept for {retention}")),
            (Some(retention), false, _) => (
                CheckStatus::Missing,
                format!(
                    "targets.toml demands {retention}, and the container keeps no single versions: nothing is promoted; az \
                     storage container-rm migrate-vlw, or a new one with --enable-vlw, on an account with versioning"
                ),
            ),
            (None, _, true) => (
                CheckStatus::Advice,
                "served objects cannot be deleted before the policy ends; say so with a table [<target>.retention] in \
                 targets.toml"
                    .into(),
            ),
            (None, true, false) if area == Area::Served => (
                CheckStatus::Advice,
                "possible, and nothing asks for it; add a table [<target>.retention] with mode and period to targets.toml"
                    .into(),
            ),
            (None, _, false) => (CheckStatus::Good, "no immutability policy and no legal hold".into()),
        }
    }

    async fn account_items(&self) -> Vec<CheckItem> {
        let service = match self.service_client() {
            Ok(service) => service,
            Err(error) => return vec![failed("account", &error)],
        };
        let cors = match call(service.get_properties(None)).await {
            Ok(found) => match found.into_model() {
                Ok(model) => cors(&model.cors.unwrap_or_default()),
                Err(_) => item("CORS", CheckStatus::Unknown, "could not be read"),
            },
            Err(error) => {
                let detail = format!("{error}; az storage cors list --services b --account-name {}", self.account);
                item("CORS", CheckStatus::Unknown, detail)
            }
        };
        let namespace = match call(service.get_account_info(None)).await {
            Ok(info) => match info.is_hierarchical_namespace_enabled() {
                Ok(Some(true)) => item(
                    "hierarchical namespace",
                    CheckStatus::Advice,
                    "is on: no blob versions and no tags; the gateway works without both",
                ),
                _ => item("hierarchical namespace", CheckStatus::Good, "is off"),
            },
            Err(error) => failed("hierarchical namespace", &error),
        };
        vec![cors, namespace]
    }

    fn unreadable_items(&self) -> Vec<CheckItem> {
        let account = &self.account;
        let commands = [
            (
                "versioning",
                format!(
                    "az storage account blob-service-properties show --account-name {account} --query isVersioningEnabled"
                ),
            ),
            (
                "lifecycle rule",
                format!(
                    "az storage account management-policy show --account-name {account}; a rule should delete what is older than a day under the staging prefix"
                ),
            ),
            (
                "notifications",
                format!(
                    "az eventgrid event-subscription list --source-resource-id <resource id of {account}>; Microsoft.Storage.BlobCreated to a storage queue"
                ),
            ),
            (
                "account-wide public access",
                format!("az storage account show --name {account} --query allowBlobPublicAccess; should be false"),
            ),
        ];
        commands
            .into_iter()
            .map(|(name, command)| item(name, CheckStatus::Unknown, format!("not told by the data plane: {command}")))
            .collect()
    }
}

/// Browsers upload with PUT and the header `x-ms-blob-type`; both need a rule.
fn cors(rules: &[CorsRule]) -> CheckItem {
    let lists = |value: &Option<String>, wanted: &str| {
        value.as_deref().unwrap_or_default().split(',').map(str::trim).any(|one| {
            one == "*"
                || one.eq_ignore_ascii_case(wanted)
                || one.strip_suffix('*').is_some_and(|p| wanted.starts_with(p))
        })
    };
    let fits = |rule: &&CorsRule| {
        lists(&rule.allowed_methods, "PUT")
            && lists(&rule.allowed_methods, "GET")
            && ["content-type", "if-none-match", "x-ms-blob-type"].iter().all(|name| lists(&rule.allowed_headers, name))
    };
    let Some(rule) = rules.iter().find(fits) else {
        return item(
            "CORS",
            CheckStatus::Advice,
            "no rule lets browsers upload; az storage cors add --services b --methods GET PUT --origins <the apps' origins> \
             --allowed-headers content-type,if-none-match,x-ms-blob-type --exposed-headers etag --max-age 600",
        );
    };
    let origins = rule.allowed_origins.as_deref().unwrap_or_default();
    if origins.split(',').any(|origin| origin.trim() == "*") {
        return item("CORS", CheckStatus::Advice, "allows every origin; list those of the apps' manifests instead");
    }
    item("CORS", CheckStatus::Good, format!("browsers may upload and download from {origins}"))
}

fn failed(name: &str, error: &StorageError) -> CheckItem {
    let status = match error {
        StorageError::Denied(_) | StorageError::Unavailable(_) => CheckStatus::Unknown,
        _ => CheckStatus::Missing,
    };
    item(name, status, format!("{error}; the container must exist and the gateway's roles must cover it"))
}

fn item(name: &str, status: CheckStatus, detail: impl Into<String>) -> CheckItem {
    CheckItem { name: name.to_owned(), status, detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &str, methods: &str, headers: &str) -> CorsRule {
        CorsRule {
            allowed_origins: Some(origins.into()),
            allowed_methods: Some(methods.into()),
            allowed_headers: Some(headers.into()),
            ..CorsRule::default()
        }
    }

    #[test]
    fn a_cors_rule_must_cover_the_method_and_every_header_of_an_upload() {
        assert_eq!(cors(&[]).status, CheckStatus::Advice);
        let headers = "content-type,if-none-match,x-ms-*";
        assert_eq!(cors(&[rule("https://a.example", "GET,PUT", headers)]).status, CheckStatus::Good);
        assert_eq!(cors(&[rule("https://a.example", "GET", headers)]).status, CheckStatus::Advice);
        assert_eq!(cors(&[rule("https://a.example", "GET,PUT", "content-type")]).status, CheckStatus::Advice);
        assert_eq!(cors(&[rule("*", "GET,PUT", "*")]).status, CheckStatus::Advice);
    }
}
