//! What a case expects, and how it compares with the answer.
//!
//! Rules are compared without their line, so that an edit above a rule breaks no case. Of an allowing answer, which may
//! name several rules, one is enough.

use crate::domain::refusal::{Reason, Refusal};

use super::question::Permitted;

/// What is expected of a case. Absent parts are not compared.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Whether it is allowed.
    pub allow: bool,
    /// The refusal's code.
    pub code: Option<Reason>,
    /// The rule that decides: `apps/where2eat.toml types`, or a Cedar policy as `base.cedar forbid-unattested`.
    pub rule: Option<String>,
    /// Terms of a permit by their names in [`Permitted::terms`].
    pub terms: Vec<(&'static str, String)>,
}

/// `apps/a.toml types` from `apps/a.toml:12 types`.
pub(super) fn without_line(rule: &str) -> String {
    let (file, key) = rule.split_once(' ').unwrap_or((rule, ""));
    let file = match file.rsplit_once(':') {
        Some((file, line)) if !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit()) => file,
        _ => file,
    };
    if key.is_empty() { file.to_owned() } else { format!("{file} {key}") }
}

impl Expected {
    /// What differs, in words; `None` where the answer is as expected.
    pub(super) fn differs(&self, answer: &Result<Permitted, Refusal>) -> Option<String> {
        match (self.allow, answer) {
            (true, Ok(permitted)) => self.permit_differs(permitted),
            (false, Err(refusal)) => self.refusal_differs(refusal),
            _ => Some(format!("expected {}, got {}", self.words(), shown(answer))),
        }
    }

    fn words(&self) -> String {
        let mut words = if self.allow { "allow".to_owned() } else { "deny".to_owned() };
        if let Some(code) = self.code {
            words.push_str(&format!(" {}", code.code()));
        }
        if let Some(rule) = &self.rule {
            words.push_str(&format!(" by {rule}"));
        }
        words
    }

    fn refusal_differs(&self, refusal: &Refusal) -> Option<String> {
        let same_code = self.code.is_none_or(|code| code == refusal.reason);
        let rule = without_line(refusal.rule.as_deref().unwrap_or("no rule"));
        let same_rule = self.rule.as_ref().is_none_or(|own| *own == rule);
        (!same_code || !same_rule)
            .then(|| format!("expected {}, got deny {} by {rule}", self.words(), refusal.reason.code()))
    }

    fn permit_differs(&self, permitted: &Permitted) -> Option<String> {
        let differs = |(name, got): &(&str, String)| {
            let expected = self.terms.iter().find(|(own, _)| own == name).map(|(_, expected)| expected)?;
            (expected != got).then(|| format!("{name} {expected}, got {got}"))
        };
        let mut wrong: Vec<String> = permitted.terms().iter().filter_map(differs).collect();
        if let Some(rule) = &self.rule
            && !permitted.rule.split(", ").any(|own| without_line(own) == *rule)
        {
            wrong.push(format!("rule {rule}, got {}", without_lines(&permitted.rule)));
        }
        (!wrong.is_empty()).then(|| format!("it is allowed, but expected {}", wrong.join("; expected ")))
    }
}

/// The same of a list of rules.
pub(super) fn without_lines(rules: &str) -> String {
    rules.split(", ").map(without_line).collect::<Vec<_>>().join(", ")
}

fn shown(answer: &Result<Permitted, Refusal>) -> String {
    match answer {
        Ok(permitted) => format!("allow by {}", without_lines(&permitted.rule)),
        Err(refusal) => {
            let rule = refusal.rule.as_deref().map_or_else(String::new, |rule| format!(" by {}", without_line(rule)));
            format!("deny {}{rule}", refusal.reason.code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_named_without_its_line() {
        for (rule, name) in [
            ("apps/a.toml:12 types", "apps/a.toml types"),
            ("apps/a.toml allow_empty", "apps/a.toml allow_empty"),
            ("apps/a.toml", "apps/a.toml"),
            ("base.cedar:3 no-nights", "base.cedar no-nights"),
            ("token scopes", "token scopes"),
        ] {
            assert_eq!(without_line(rule), name);
        }
        assert_eq!(without_lines("apps/a.toml, base.cedar:1 within"), "apps/a.toml, base.cedar within");
    }
}
