//! Reads the file and the environment, and collects every mistake.
//!
//! The environment wins: `VESTIBULE__SECTION__KEY` is `key` in `[section]`. A list or a table is written there as JSON.
//! Deserialising stops at its first error, so the offending setting is taken out and the rest is read again until
//! nothing is left to complain about.

use std::path::Path;

use config::{Environment, File, FileFormat, Source, Value, ValueKind};
use serde::Deserialize;

use super::Config;

/// Every mistake of a configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} mistake(s):\n{}", .0.len(), .0.iter().map(|line| format!("  - {line}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// Reads a configuration: defaults, then the file, then the environment.
///
/// # Errors
/// [`ConfigError`] with every mistake, each with the setting's name.
pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    let mut builder = config::Config::builder();
    if let Some(file) = file {
        builder = builder.add_source(File::from(file).format(FileFormat::Toml));
    }
    let environment = Environment::with_prefix("VESTIBULE").prefix_separator("__").separator("__");
    let layers = builder.add_source(environment).build().and_then(|config| config.collect());
    let mut root = match layers {
        Ok(table) => Value::new(None, ValueKind::Table(table)),
        Err(error) => return Err(ConfigError(vec![error.to_string()])),
    };
    expand_json(&mut root);
    let (config, mut mistakes) = deserialize(root);
    mistakes.extend(config.iter().flat_map(super::validate::mistakes));
    match config {
        Some(config) if mistakes.is_empty() => Ok(Config { source: file.map(Path::to_owned), ..config }),
        _ => Err(ConfigError(mistakes)),
    }
}

/// Reads what can be read, and says what could not.
fn deserialize(mut root: Value) -> (Option<Config>, Vec<String>) {
    let mut mistakes = Vec::new();
    // Each round takes one setting out, so that this ends.
    loop {
        let mut track = serde_path_to_error::Track::new();
        let deserializer = serde_path_to_error::Deserializer::new(root.clone(), &mut track);
        let error = match Config::deserialize(deserializer) {
            Ok(config) => return (Some(config), mistakes),
            Err(error) => error,
        };
        let mut path: Vec<String> = track.path().iter().map(ToString::to_string).collect();
        let text = plain(&error);
        if let Some(name) = text.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next())
            && path.last().is_none_or(|last| last != name)
        {
            path.push(name.to_owned());
        }
        mistakes.push(format!("{}: {text}", path.join(".")));
        if !remove(&mut root, &path) {
            return (None, mistakes);
        }
    }
}

/// The error without the key and file that the config crate appends; the path is told better by the caller.
fn plain(error: &config::ConfigError) -> String {
    match error {
        config::ConfigError::At { error, .. } => plain(error),
        config::ConfigError::Type { unexpected, expected, .. } => format!("expected {expected}, found {unexpected}"),
        config::ConfigError::Message(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Takes the setting, or the nearest thing around it that is there, out of the tree.
fn remove(root: &mut Value, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    let mut here = &mut *root;
    for name in parents {
        here = match &mut here.kind {
            ValueKind::Table(table) if table.contains_key(name) => match table.get_mut(name) {
                Some(next) => next,
                None => return false,
            },
            ValueKind::Array(_) => return remove(root, parents),
            _ => return remove(root, parents),
        };
    }
    match &mut here.kind {
        ValueKind::Table(table) => table.remove(last).is_some() || remove(root, parents),
        _ => remove(root, parents),
    }
}

/// Lists and tables that the environment gives as JSON text.
fn expand_json(value: &mut Value) {
    match &mut value.kind {
        ValueKind::Table(table) => table.values_mut().for_each(expand_json),
        ValueKind::Array(items) => items.iter_mut().for_each(expand_json),
        ValueKind::String(text) if text.starts_with(['[', '{']) => {
            if let Ok(parsed) = serde_json::from_str::<serde_json::Value>(text) {
                value.kind = from_json(parsed);
            }
        }
        _ => {}
    }
}

fn from_json(json: serde_json::Value) -> ValueKind {
    match json {
        serde_json::Value::Null => ValueKind::Nil,
        serde_json::Value::Bool(value) => ValueKind::Boolean(value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(value) => ValueKind::I64(value),
            None => ValueKind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => ValueKind::String(text),
        serde_json::Value::Array(items) => {
            ValueKind::Array(items.into_iter().map(|item| Value::new(None, from_json(item))).collect())
        }
        serde_json::Value::Object(entries) => ValueKind::Table(
            entries.into_iter().map(|(name, item)| (name, Value::new(None, from_json(item)))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> (Option<Config>, Vec<String>) {
        let table = File::from_str(toml, FileFormat::Toml).collect().unwrap();
        let mut root = Value::new(None, ValueKind::Table(table));
        expand_json(&mut root);
        deserialize(root)
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        let (config, mistakes) = read("");
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!(config.unwrap().public.listen.port(), 8080);
    }

    #[test]
    fn every_mistake_is_reported_with_its_setting() {
        let (_, mistakes) = read(
            "[public]\nlisten = 'nowhere'\nurls = 'x'\n[sweep]\ninterval = 'soon'\n[storage]\na = 1\n\
             [telemetry]\nlog = 'xml'\n",
        );
        assert_eq!(mistakes.len(), 5, "{mistakes:#?}");
        for setting in ["public.listen", "public.urls", "sweep.interval", "storage", "telemetry.log"] {
            assert!(mistakes.iter().any(|mistake| mistake.starts_with(setting)), "{setting}: {mistakes:#?}");
        }
    }

    #[test]
    fn lists_and_tables_may_be_json_text() {
        let (config, mistakes) = read("[public]\ntrusted_proxies = '[\"10.0.0.1\"]'\n");
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!(config.unwrap().public.trusted_proxies.len(), 1);
    }
}
