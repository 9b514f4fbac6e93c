//! The access review as CSV (RFC 4180), to be opened by people in a spreadsheet.
//!
//! A spreadsheet runs a cell that begins with `=`, `+`, `-`, `@`, a tab or a line end as a formula (OWASP, "CSV Injection").
//! Names of operators are free text, so that such a cell gets an apostrophe in front, which shows it as text.

use std::fmt::Write;

use crate::store::TokenHolder;

use super::review::{AccessReview, ReviewedToken};

const HEADER: [&str; 15] = [
    "tokenId",
    "app",
    "workflow",
    "owner",
    "operator",
    "environment",
    "actsFor",
    "scopes",
    "createdAt",
    "expiresAt",
    "lastUsedAt",
    "requestId",
    "successor",
    "binding",
    "findings",
];

/// The report: a header, and a line for each token.
pub fn review_csv(review: &AccessReview) -> String {
    let mut text = String::new();
    line(&mut text, HEADER.map(str::to_owned));
    for token in &review.tokens {
        line(&mut text, row(token));
    }
    text
}

fn row(token: &ReviewedToken) -> [String; HEADER.len()] {
    let record = &token.record;
    let time = |time: Option<jiff::Timestamp>| time.map_or_else(String::new, |time| format!("{time:.0}"));
    let text = |text: Option<String>| text.unwrap_or_default();
    let (app, workflow, owner, operator, environment, user, scopes) = match &record.holder {
        TokenHolder::Workflow { app, workflow, owner, environment, scopes, subject } => (
            app.to_string(),
            workflow.to_string(),
            owner.to_string(),
            String::new(),
            environment.as_str(),
            subject.as_ref().map_or_else(String::new, |subject| subject.user.clone()),
            scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        ),
        TokenHolder::Operator { name, roles } => {
            let none = String::new;
            (none(), none(), none(), name.clone(), "admin", none(), roles.to_string())
        }
    };
    let findings: Vec<&str> = token.findings.iter().map(|finding| finding.as_str()).collect();
    [
        record.id.to_string(),
        app,
        workflow,
        owner,
        operator,
        environment.to_owned(),
        user,
        scopes,
        time(Some(record.created_at)),
        time(record.expires_at),
        time(record.last_used_at),
        text(record.request.map(|id| id.to_string())),
        text(record.successor.as_ref().map(ToString::to_string)),
        text(record.binding.as_ref().map(ToString::to_string)),
        findings.join(" "),
    ]
}

fn line<const N: usize>(text: &mut String, fields: [String; N]) {
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
        let guard = if formula { "'" } else { "" };
        if formula || field.contains(['"', ',', '\r', '\n']) {
            let _ = write!(text, "\"{guard}{}\"", field.replace('"', "\"\""));
        } else {
            text.push_str(field);
        }
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_formulas_are_shown_as_text() {
        let mut text = String::new();
        let fields = ["plain", "a,b", "say \"hi\"", "=cmd|' /C calc'!A0", "@SUM(A1)", "-1+1", "two\nlines", ""];
        line(&mut text, fields.map(str::to_owned));
        let lines =
            "plain,\"a,b\",\"say \"\"hi\"\"\",\"'=cmd|' /C calc'!A0\",\"'@SUM(A1)\",\"'-1+1\",\"two\nlines\",\r\n";
        assert_eq!(text, lines);
    }
}
