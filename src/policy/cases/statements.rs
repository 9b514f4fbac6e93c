//! Cedar's text, cut into its policies: each ends with a `;` that stands in no string and no comment.
//!
//! Only for trying policies out one by one and for showing them; what they mean is Cedar's business.

use std::ops::Range;

use super::mutate::{Mutant, Rule, line_of, spliced};

/// One policy of a file.
pub(super) struct Statement {
    /// From its first annotation or word to its `;`.
    pub(super) place: Range<usize>,
    /// Of the word `permit` or `forbid`.
    effect: Range<usize>,
    /// Its `@id`.
    id: Option<String>,
}

/// Every policy of the text, in its order.
pub(super) fn statements(text: &str) -> Vec<Statement> {
    let plain = blanked(text);
    let (mut found, mut start) = (Vec::new(), 0);
    for (end, _) in plain.match_indices(';') {
        let own = &plain[start..end];
        let first = start + own.len() - own.trim_start().len();
        let effect = ["permit", "forbid"].into_iter().filter_map(|word| word_at(&plain[first..end], word)).min();
        if let Some(at) = effect {
            let effect = first + at..first + at + "permit".len();
            let id = annotation(&text[first..effect.start]);
            found.push(Statement { place: first..end + 1, effect, id });
        }
        start = end + 1;
    }
    found
}

/// Where the word stands as one.
fn word_at(text: &str, word: &str) -> Option<usize> {
    let part = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let bytes = text.as_bytes();
    text.match_indices(word)
        .map(|(at, _)| at)
        .find(|at| !part(at.checked_sub(1).and_then(|before| bytes.get(before))) && !part(bytes.get(at + word.len())))
}

fn annotation(head: &str) -> Option<String> {
    let rest = head.split_once("@id")?.1.split_once('"')?.1;
    Some(rest.split_once('"')?.0.to_owned())
}

/// The text with strings and comments made blank, byte for byte.
fn blanked(text: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(['"', '/']) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with('"') {
            string_length(rest)
        } else {
            0
        };
        if length == 0 {
            plain.push('/');
            rest = &rest[1..];
        } else {
            plain.extend(std::iter::repeat_n(' ', length));
            rest = &rest[length..];
        }
    }
    plain.push_str(rest);
    plain
}

/// Of a string with both its marks.
fn string_length(text: &str) -> usize {
    let (mut escaped, mut length) = (false, 1);
    for byte in text.bytes().skip(1) {
        length += 1;
        match byte {
            b'"' if !escaped => break,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    length
}

impl Statement {
    /// Where it begins, from 1.
    pub(super) fn line(&self, text: &str) -> u32 {
        line_of(text, self.place.start)
    }

    /// The policy left out, and with the other effect.
    pub(super) fn rule(self, file: &str, text: &str) -> Rule {
        let line = self.line(text);
        let other = if &text[self.effect.clone()] == "permit" { "forbid" } else { "permit" };
        let mutants = vec![
            Mutant { what: "left out".to_owned(), text: spliced(text, self.place.clone(), "") },
            Mutant { what: format!("made a {other}"), text: spliced(text, self.effect.clone(), other) },
        ];
        Rule { file: file.to_owned(), line, key: self.id.unwrap_or_else(|| "policy".to_owned()), mutants }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_end_where_cedar_ends_them() {
        let text = "// permit; all\n@id(\"a;b\")\npermit (principal, action, resource)\nwhen { context.x == \"// ;\\\" \" };\n\n\
                    forbid (principal, action, resource); // end;\n";
        let found = statements(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].line(text), found[0].id.as_deref()), (2, Some("a;b")));
        assert_eq!((found[1].line(text), &text[found[1].effect.clone()]), (6, "forbid"));
        let rule = statements(text).remove(0).rule("base.cedar", text);
        assert!(
            !rule.mutants[0].text.contains("permit (")
                && rule.mutants[1].text.contains("forbid (principal, action, resource)\nwhen")
        );
        assert_eq!(rule.mutants[0].text.matches('\n').count(), text.matches('\n').count());
    }
}
