//! `[workflows.<name>]` of a manifest: what single workflows of an app may handle.
//!
//! A workflow without a table may store every class of the app that is not regulated, and none that is.

use std::collections::BTreeMap;

use crate::domain::ids::{ClassName, WorkflowName};

use super::classes::values;
use super::manifest::WorkflowRules;
use super::mistake::one_of;
use super::reader::{At, File, Section, text};

/// Reads the tables; `listed` are the classes of the app.
pub(super) fn read(
    file: &File<'_>,
    root: &mut Section<'_>,
    listed: Option<&At<Vec<At<ClassName>>>>,
) -> BTreeMap<WorkflowName, WorkflowRules> {
    let mut found = BTreeMap::new();
    let sections = root.section("workflows").map(|mut section| section.named_sections()).unwrap_or_default();
    for (name, mut section) in sections {
        let at = section.at;
        let classes = section.required_list("classifications", "classifications = [\"internal\"]", text::<ClassName>);
        section.finish();
        for class in classes.iter().flat_map(|list| &list.value) {
            check_class(file, class, listed);
        }
        match (name.parse::<WorkflowName>(), classes) {
            (Ok(name), Some(classes)) => {
                let rule = format!("{}:{} workflows.{name}", file.name, file.place(at).0);
                found.insert(name, WorkflowRules { classifications: values(classes.value), rule });
            }
            (Ok(_), None) => {}
            (Err(error), _) => file.mistake(at, format!("a workflow cannot be named '{name}'"), error.to_string()),
        }
    }
    found
}

fn check_class(file: &File<'_>, class: &At<ClassName>, listed: Option<&At<Vec<At<ClassName>>>>) {
    let Some(listed) = listed.filter(|list| list.value.iter().all(|own| own.value != class.value)) else { return };
    let names: Vec<&str> = listed.value.iter().map(|own| own.value.as_str()).collect();
    let problem = format!("'{}' is not in this app's 'classifications'", class.value);
    file.mistake(class.at, problem, one_of("they", class.value.as_str(), &names));
}
