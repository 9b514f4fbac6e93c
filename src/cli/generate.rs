//! `vestibule generate DIR`: the documents that are made from the code.
//!
//! The error table, the enforcement table, what operators' roles may, the decision matrix of the example policies and both
//! API descriptions. They are committed, and `make check` fails where they differ from what this writes.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::domain::admin::AdminRole;
use crate::domain::grant::UploadMethod;
use crate::domain::refusal::Reason;
use crate::http;
use crate::storage::Provider;
use crate::storage::enforcement::{CIRCUMSTANCES, Constraint, Enforced};

use super::{Failure, policy};

#[derive(clap::Args)]
pub(super) struct Generate {
    /// The directory, for example docs.
    dir: PathBuf,
    /// The policy directory of the decision matrix.
    #[arg(long, default_value = "policies")]
    policies: PathBuf,
}

impl Generate {
    pub(super) fn run(self) -> Result<(), Failure> {
        write(&self.dir, "errors.md", &errors())?;
        write(&self.dir, "enforcement.md", &enforcement())?;
        write(&self.dir, "admin-roles.md", &admin_roles())?;
        let matrix = policy::matrix_of(&self.policies)?;
        let made = "<!-- made by `vestibule generate docs` from policies/; do not edit -->\n";
        write(&self.dir, "decision-matrix.md", &format!("{made}{matrix}"))?;
        for (name, description) in
            [("openapi.json", http::public_description()), ("openapi-admin.json", http::admin_description())]
        {
            let text = serde_json::to_string_pretty(&description).map_err(|error| Failure::Told(error.to_string()))?;
            write(&self.dir, name, &format!("{text}\n"))?;
        }
        Ok(())
    }
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = dir.join(name);
    std::fs::write(&path, text).map_err(|error| Failure::Io(path.display().to_string(), error))
}

fn errors() -> String {
    let mut text = String::from(
        "<!-- made by `vestibule generate docs`; do not edit -->\n\
         # Errors\n\n\
         Every error is a problem document (RFC 9457) with a stable `code`. A code never changes its meaning.\n\n\
         | code | status | meaning | what to do |\n|---|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let _ =
            writeln!(text, "| `{}` | {} | {} | {} |", reason.code(), reason.status(), reason.title(), reason.remedy());
    }
    text
}

fn admin_roles() -> String {
    let mut text = String::from(
        "<!-- made by `vestibule generate docs`; do not edit -->\n\
         # What operators may do\n\n\
         Every route of the admin listener, and how it answers an operator of each role. `yes`: the request is carried out, or \
         refused for what it asks. `403`: `role_insufficient`, recorded with the operator's name. Without a token every route \
         answers 401, but those that need none (`open`).\n\n| route |",
    );
    for role in AdminRole::ALL {
        let _ = write!(text, " {role} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(AdminRole::ALL.len()));
    for route in http::ADMIN_ROUTES {
        let _ = write!(text, "\n| `{} {}` |", route.method, route.path);
        for role in AdminRole::ALL {
            let outcome = match route.needs {
                None => "open",
                Some(act) if role.covers(act) => "yes",
                Some(_) => "403",
            };
            let _ = write!(text, " {outcome} |");
        }
    }
    text.push_str(
        "\n\nWhoever makes, rotates or revokes an operator's own token needs `admin`, whatever the route says. How people get \
         roles is in [identity.md](identity.md).\n",
    );
    text
}

fn enforcement() -> String {
    let columns =
        [(Provider::S3, UploadMethod::Put), (Provider::S3, UploadMethod::Post), (Provider::Azure, UploadMethod::Put)];
    let mut text = String::from(
        "<!-- made by `vestibule generate docs`; do not edit -->\n\
         # What an upload URL enforces\n\n\
         | constraint | S3 PUT | S3 POST form | Azure SAS | checked after the upload |\n|---|---|---|---|---|\n",
    );
    for constraint in Constraint::ALL {
        let _ = write!(text, "| {} ", constraint.title());
        for (provider, method) in columns {
            let cell = match constraint.enforced(provider, method) {
                Enforced::Signed => "signed".to_owned(),
                Enforced::SignedHeader(name) => format!("signed header `{name}`"),
                Enforced::Policy(condition) => format!("policy: {condition}"),
                Enforced::Permission(permission) => format!("permission {permission}"),
                Enforced::No => "no".to_owned(),
            };
            let _ = write!(text, "| {cell} ");
        }
        let _ = writeln!(text, "| {} |", if constraint.checked_after_upload() { "always" } else { "" });
    }
    for row in CIRCUMSTANCES {
        let _ = writeln!(text, "| {} | |", row.join(" | "));
    }
    text
}
