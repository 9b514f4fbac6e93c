//! Which app is meant: by `resource`, `audience` and the scopes, which must all mean the same one.
//!
//! Only apps whose manifest lets this asker have tokens are looked at. An app that does not is not told from one that does
//! not exist.

use std::collections::BTreeSet;

use url::Url;

use crate::domain::ids::{AppName, TargetName};
use crate::domain::principal::Environment;
use crate::domain::refusal::{Reason, Refusal};
use crate::policy::{Manifest, PolicySet, Wanted};

use super::ExchangeWish;

/// What a wish names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    apps: BTreeSet<AppName>,
    targets: BTreeSet<TargetName>,
}

/// The one app that is meant, among those that this asker may have tokens of. `gateway` is the gateway's own address.
pub(super) fn app<'s>(
    set: &'s PolicySet,
    gateway: &str,
    wish: &ExchangeWish,
    environment: Environment,
    may: impl Fn(&Manifest) -> bool,
) -> Result<&'s Manifest, Refusal> {
    let named = named(gateway, wish)?;
    if named.apps.len() > 1 || named.targets.len() > 1 {
        return Err(refusal("the request names several apps or several buckets; a token is for one app"));
    }
    let mut fitting = set.apps().filter(|app| {
        may(app)
            && named.apps.first().is_none_or(|own| app.app == *own)
            && named.targets.first().is_none_or(|own| app.target_for(environment) == Some(own))
    });
    match (fitting.next(), fitting.next()) {
        (Some(app), None) => Ok(app),
        (Some(_), Some(_)) => {
            Err(refusal("this client may have tokens of several apps; name one, for example as audience=<app>"))
        }
        (None, _) => Err(refusal(
            "no such app gives tokens to this client and issuer; ask your platform team to list them in the app's [exchange]",
        )),
    }
}

fn named(gateway: &str, wish: &ExchangeWish) -> Result<Named, Refusal> {
    let mut named = Named::default();
    for text in wish.resources.iter().chain(&wish.audiences) {
        name(gateway, text, &mut named).ok_or_else(|| {
            refusal(&format!(
                "'{}' names neither an app nor a bucket; write app:<app>, bucket:<target> or the app's name",
                text.chars().take(80).collect::<String>()
            ))
        })?;
    }
    if let Wanted::Scopes(scopes) = &wish.wanted {
        named.apps.extend(scopes.iter().map(|scope| scope.app.clone()));
    }
    Ok(named)
}

/// Adds what one text names; the gateway's own address names nothing more.
fn name(gateway: &str, text: &str, named: &mut Named) -> Option<()> {
    if let Some(app) = text.strip_prefix("app:") {
        named.apps.insert(app.parse().ok()?);
    } else if let Some(target) = text.strip_prefix("bucket:") {
        named.targets.insert(target.parse().ok()?);
    } else if text.contains("://") {
        // RFC 8707 section 2: an absolute URI without a fragment.
        let url: Url = text.parse().ok().filter(|url: &Url| url.fragment().is_none() && url.query().is_none())?;
        let path = url.as_str().trim_end_matches('/').strip_prefix(gateway.trim_end_matches('/'))?;
        match path.strip_prefix('/').unwrap_or(path).split_once('/') {
            None if path.is_empty() => {}
            Some(("apps", app)) => drop(named.apps.insert(app.parse().ok()?)),
            Some(("buckets", target)) => drop(named.targets.insert(target.parse().ok()?)),
            _ => return None,
        }
    } else {
        named.apps.insert(text.parse().ok()?);
    }
    Some(())
}

fn refusal(detail: &str) -> Refusal {
    Refusal::new(Reason::ExchangeTargetInvalid, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Option<Vec<String>> {
        let mut named = Named::default();
        for text in texts {
            name("https://files.example/", text, &mut named)?;
        }
        let apps = named.apps.iter().map(|app| format!("app {app}"));
        Some(apps.chain(named.targets.iter().map(|target| format!("bucket {target}"))).collect())
    }

    #[test]
    fn apps_and_buckets_are_named_by_words_and_by_addresses_of_this_gateway() {
        for (text, named) in [
            ("app:where2eat", "app where2eat"),
            ("where2eat", "app where2eat"),
            ("bucket:project-123", "bucket project-123"),
            ("https://files.example/apps/where2eat", "app where2eat"),
            ("https://files.example/apps/where2eat/", "app where2eat"),
            ("https://files.example/buckets/images", "bucket images"),
        ] {
            assert_eq!(names(&[text]), Some(vec![named.to_owned()]), "{text}");
        }
        assert_eq!(names(&["https://files.example", "https://files.example/"]), Some(Vec::new()));
        assert_eq!(names(&["app:a", "https://files.example/apps/a", "a"]), Some(vec!["app a".to_owned()]));
        assert_eq!(names(&["app:a", "b"]).unwrap().len(), 2);
    }

    #[test]
    fn what_names_neither_is_refused() {
        for text in [
            "",
            "app:",
            "app:Where2eat",
            "app:a/b",
            "bucket:",
            "https://files.example.evil/apps/where2eat",
            "https://evil.example/apps/where2eat",
            "https://files.example/apps/where2eat#x",
            "https://files.example/apps/where2eat?x",
            "https://files.example/apps/../apps/x/y",
            "https://files.example/apps/",
            "https://files.example/objects/x",
            "urn:x",
        ] {
            assert_eq!(names(&[text]), None, "{text}");
        }
    }
}
