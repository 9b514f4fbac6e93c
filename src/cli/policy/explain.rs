//! `vestibule policy explain --request FILE`: why a request is answered as it is.

use std::path::PathBuf;

use crate::cli::Failure;
use crate::policy::cases::{Explanation, PolicyFiles, case_of_file, explain};

use super::{methods, mistakes};

/// Say which line of a manifest or which Cedar policy decides on a request, and what would be allowed.
///
/// The file is one case as in tests/*.toml, without what is expected of it, in TOML or JSON.
#[derive(clap::Args)]
pub(in crate::cli) struct Explain {
    /// The request.
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// The policy directory.
    #[arg(long, value_name = "DIR", default_value = "policies")]
    policies: PathBuf,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (name, dir) = (self.request.display().to_string(), self.policies.display().to_string());
        let text = std::fs::read_to_string(&self.request).map_err(|error| Failure::Io(name.clone(), error))?;
        let question = case_of_file(&name, &text).map_err(|found| mistakes(&name, &found))?;
        let files = PolicyFiles::read(&self.policies).map_err(|found| mistakes(&dir, &found))?;
        let set = files.set().map_err(|found| mistakes(&dir, &found))?;
        let explanation = explain(&files.policies, &set, &question, methods);
        if self.json {
            let text = serde_json::to_string_pretty(&explanation).map_err(|error| Failure::Told(error.to_string()))?;
            println!("{text}");
        } else {
            print(&explanation);
        }
        Ok(())
    }
}

fn print(explanation: &Explanation) {
    match (explanation.code, explanation.status) {
        (Some(code), Some(status)) => println!("refused: {code} ({status})"),
        _ => println!("allowed"),
    }
    if let Some(detail) = &explanation.detail {
        println!("  {detail}");
    }
    for (name, term) in &explanation.permit {
        println!("  {name}: {term}");
    }
    println!("decided by");
    for decider in &explanation.decided_by {
        println!("  {}", decider.rule);
        for line in decider.text.iter().flat_map(|text| text.lines()) {
            println!("      {line}");
        }
    }
    if explanation.decided_by.is_empty() {
        println!("  the request itself, before any policy");
    }
    if !explanation.passed.is_empty() {
        println!("passed before, in this order");
    }
    for check in &explanation.passed {
        println!("  {check}");
    }
    let Some(possible) = &explanation.would_be_allowed else { return };
    println!("would be allowed for this asker");
    let list = |name: &str, items: Vec<&str>| {
        if !items.is_empty() {
            println!("  {name}: {}", items.join(", "));
        }
    };
    fn texts(items: &[String]) -> Vec<&str> {
        items.iter().map(String::as_str).collect()
    }
    list("instead", texts(&possible.instead));
    list("paths", texts(&possible.paths));
    list("types", texts(&possible.types));
    list("classes", texts(&possible.classifications));
    list("lawful bases", possible.lawful_bases.clone());
    list("methods", possible.methods.clone());
}
