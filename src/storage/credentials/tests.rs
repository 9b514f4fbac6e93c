//! What an entry is read as, what is shown of it, and when keys are renewed.

use super::*;

#[test]
fn an_entry_is_for_exactly_one_provider() {
    let s3: Credentials = toml::from_str("access_key_id = 'test'\nsecret_access_key = 'hush'").unwrap();
    assert!(matches!(s3, Credentials::AccessKey(_)));
    let azure: Credentials = toml::from_str("account_key = 'aHVzaA=='").unwrap();
    assert!(matches!(azure, Credentials::AccountKey(_)));
    let file: Credentials = toml::from_str("access_key_file = '/run/keys/s3.json'").unwrap();
    assert!(matches!(file, Credentials::AccessKeyFile(_)));
    let file: Credentials = toml::from_str("account_key_file = '/run/keys/account'").unwrap();
    assert!(matches!(file, Credentials::AccountKeyFile(_)));
    for text in [
        "",
        "access_key_file = '/a'\naccount_key_file = '/b'",
        "access_key_file = '/a'\naccess_key_id = 'test'",
        "access_key_id = 'test'\nsecret_access_key = 'hush'\naccess_key_file = '/a'",
        "account_key = 'aHVzaA=='\naccount_key_file = '/b'",
        "access_key_id = 'test'",
        "secret_access_key = 'hush'",
        "access_key_id = ''\nsecret_access_key = 'hush'",
        "access_key_id = 'a/b'\nsecret_access_key = 'hush'",
        "access_key_id = 'test'\nsecret_access_key = 'hush'\naccount_key = 'aHVzaA=='",
        "account_key = 'aHVzaA=='\nsession_token = 'x'",
        "account_key = 'aHVzaA=='\nkey = 'x'",
    ] {
        assert!(toml::from_str::<Credentials>(text).is_err(), "{text:?}");
    }
}

#[test]
fn printing_credentials_never_shows_a_secret() {
    let key = AccessKey {
        access_key_id: "AKIAEXAMPLE".into(),
        secret_access_key: "hush-secret".into(),
        session_token: Some("hush-token".into()),
    };
    let source = CredentialSource::fixed(&key);
    let printed = format!("{key:?} {:?} {source:?}", Credentials::AccessKey(key.clone()));
    assert!(printed.contains("AKIAEXAMPLE") && !printed.contains("hush"), "{printed}");
    assert!(!format!("{:?}", Credentials::AccountKey("hush".into())).contains("hush"));
}

#[test]
fn a_changed_file_changes_the_keys_and_a_broken_one_leaves_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s3.json");
    let write = |id: &str, secret: &str| {
        let text = format!(r#"{{"Version":1,"AccessKeyId":"{id}","SecretAccessKey":"{secret}"}}"#);
        std::fs::write(&path, text).unwrap();
    };
    assert!(CredentialSource::watched(&path).is_err(), "a server that cannot sign says so at start");
    write("FIRST", "one");
    let (source, mut watch) = CredentialSource::watched(&path).unwrap();
    let held = || {
        let current = source.current().unwrap();
        let held = current.as_ref().unwrap();
        (held.access_key_id.clone(), held.secret().to_owned(), Arc::as_ptr(held))
    };
    let first = held();
    assert!(watch.look());
    assert_eq!(held(), first, "an unchanged file keeps its signing key");
    write("SECOND", "two");
    assert!(watch.look());
    let (id, secret, _) = held();
    assert_eq!((id.as_str(), secret.as_str()), ("SECOND", "two"));
    let second = held();
    std::fs::write(&path, "half a fi").unwrap();
    assert!(watch.look());
    std::fs::remove_file(&path).unwrap();
    assert!(watch.look());
    assert_eq!(held(), second);
    write("THIRD", "three");
    assert!(watch.look());
    assert_eq!(held().0, "THIRD");
    drop(source);
    assert!(!watch.look(), "nobody waits for it");
}

#[test]
fn credentials_are_renewed_when_half_of_their_life_is_over() {
    let now: Timestamp = "2026-11-21T20:00:00Z".parse().unwrap();
    let after = |seconds: i64| Some(now + jiff::SignedDuration::from_secs(seconds));
    assert_eq!(next_look(after(400), now), Duration::from_secs(200));
    assert_eq!(next_look(after(3600), now), LONGEST);
    assert_eq!(next_look(after(-10), now), RETRY);
    assert_eq!(next_look(None, now), LONGEST);
}

/// Answers with the next of its access key ids, and with an error where that is empty.
#[derive(Debug)]
struct Chain(std::sync::Mutex<Vec<&'static str>>);

impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        use aws_credential_types::provider::{error::CredentialsError, future};
        let id = self.0.lock().unwrap().remove(0);
        future::ProvideCredentials::ready(if id.is_empty() {
            Err(CredentialsError::not_loaded("away"))
        } else {
            Ok(aws_credential_types::Credentials::from_keys(id, "hush", None))
        })
    }
}

#[tokio::test]
async fn what_was_fetched_last_stays_while_the_chain_is_away() {
    let chain = SharedCredentialsProvider::new(Chain(vec!["AKIA1", "", "AKIA1", "AKIA2"].into()));
    let source = CredentialSource { current: ArcSwapOption::empty() };
    assert!(source.current().is_err());
    let mut held = Vec::new();
    for _ in 0..4 {
        look(&source, &chain).await;
        held.push(source.current().unwrap().clone().unwrap());
    }
    let ids: Vec<_> = held.iter().map(|held| held.access_key_id.as_str()).collect();
    assert_eq!(ids, ["AKIA1", "AKIA1", "AKIA1", "AKIA2"]);
    assert!(Arc::ptr_eq(&held[0], &held[2]), "an unchanged answer keeps its pointer");
}
