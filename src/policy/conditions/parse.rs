//! Reads conditions. Every mistake is named by its own line and column inside the text.

use crate::domain::grant::UploadMethod;
use crate::domain::ids::{ClassName, RoleName, WorkflowName};
use crate::domain::media::MediaType;
use crate::domain::principal::Environment;

use super::super::mistake::one_of;
use super::super::reader::{At, File};
use super::super::units::parse_size;
use super::{Condition, Field, Term, Test};

/// The conditions of a list; those with a mistake are reported and left out.
pub(in crate::policy) fn read(file: &File<'_>, list: Vec<At<String>>) -> Vec<Condition> {
    let read = |item: At<String>| match parse(&item.value) {
        Ok(mut terms) => {
            for term in &mut terms {
                match &mut term.test {
                    Test::Word { words, .. } => words.iter_mut().for_each(|(_, at)| *at = place(file, &item, *at)),
                    Test::Under(_, at) => *at = place(file, &item, *at),
                    Test::Size(..) => {}
                }
            }
            Some(Condition { at: item.at, text: item.value.into(), terms })
        }
        Err(wrong) => {
            file.mistake(place(file, &item, wrong.at), format!("'conditions' {}", wrong.problem), wrong.remedy);
            None
        }
    };
    list.into_iter().filter_map(read).collect()
}

/// Where in the file the byte `offset` of a text stands; the text's own place where TOML escapes move it.
fn place(file: &File<'_>, text: &At<String>, offset: usize) -> usize {
    let raw = &file.text[text.at..];
    let quote = match ["\"\"\"", "'''"].into_iter().any(|quote| raw.starts_with(quote)) {
        true => 3 + raw[3..].len() - raw[3..].trim_start_matches(['\r', '\n']).len(),
        false => 1,
    };
    let is_plain = raw.get(quote..quote + offset).is_some_and(|before| before == &text.value[..offset]);
    if is_plain { text.at + quote + offset } else { text.at }
}

/// What is wrong at a byte of a condition.
#[derive(Debug)]
struct Wrong {
    at: usize,
    problem: String,
    remedy: String,
}

fn wrong<T>(at: usize, problem: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at, problem: problem.into(), remedy: remedy.into() })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    Quoted,
    Operator,
    Comma,
}

#[derive(Clone, Copy, Debug)]
struct Token<'t> {
    kind: Kind,
    text: &'t str,
    at: usize,
    /// Just behind it.
    end: usize,
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, Wrong> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (kind, text, length) = match first {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            ',' => (Kind::Comma, ",", 1),
            '<' | '>' | '=' => {
                let length = rest.bytes().take_while(|b| b"<>=".contains(b)).count();
                (Kind::Operator, &rest[..length], length)
            }
            '\'' => match rest[1..].find('\'') {
                Some(end) => (Kind::Quoted, &rest[1..=end], end + 2),
                None => return wrong(at, "has a quotation mark that is not closed", "close it with another '"),
            },
            _ => {
                let end = |c: char| c.is_whitespace() || [',', '<', '>', '='].contains(&c);
                let length = rest.find(end).unwrap_or(rest.len());
                (Kind::Word, &rest[..length], length)
            }
        };
        tokens.push(Token { kind, text, at, end: at + length });
        at += length;
    }
    Ok(tokens)
}

/// The terms of one condition.
fn parse(text: &str) -> Result<Vec<Term>, Wrong> {
    let tokens = tokens(text)?;
    let mut reader = Reader { text, tokens: &tokens, next: 0 };
    let mut terms = Vec::new();
    loop {
        terms.push(reader.term()?);
        match reader.take() {
            None => return Ok(terms),
            Some(token) if token.is("and") => {}
            Some(token) if token.is("or") => {
                return wrong(token.at, "has an 'or'", "write each alternative as a condition of its own in the list");
            }
            Some(token) if token.kind == Kind::Comma => {
                return wrong(token.at, "has several values after 'is'", "write 'is one of' before them");
            }
            Some(token) => {
                return wrong(token.at, format!("goes on with '{}'", token.text), "join terms by 'and'");
            }
        }
    }
}

impl Token<'_> {
    fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }
}

struct Reader<'t> {
    text: &'t str,
    tokens: &'t [Token<'t>],
    next: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<&'t Token<'t>> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<&'t Token<'t>> {
        let token = self.peek()?;
        self.next += 1;
        Some(token)
    }

    /// Where something is missing: at the next token, or at the end.
    fn here(&self) -> usize {
        self.peek().map_or(self.text.len(), |token| token.at)
    }

    fn takes(&mut self, word: &str) -> bool {
        let is = self.peek().is_some_and(|token| token.is(word));
        self.next += usize::from(is);
        is
    }

    fn term(&mut self) -> Result<Term, Wrong> {
        const FIELDS: &str = "begin a term with a field: size, content-type, extension, classification, method, \
                              environment, role, workflow or path";
        let start = self.here();
        let Some(field) = self.take() else { return wrong(start, "ends where a term should stand", FIELDS) };
        let test = match field.text {
            "size" => self.size()?,
            "path" => self.path()?,
            name => match Field::ALL.into_iter().find(|field| field.as_str() == name) {
                Some(field) => self.words(field)?,
                None => {
                    let names: Vec<&str> = ["size", "path"].into_iter().chain(Field::ALL.map(Field::as_str)).collect();
                    return wrong(
                        start,
                        format!("begins a term with '{name}', no field"),
                        one_of("fields", name, &names),
                    );
                }
            },
        };
        let end = self.tokens[self.next - 1].end;
        Ok(Term { text: self.text[start..end].to_owned(), test })
    }

    fn size(&mut self) -> Result<Test, Wrong> {
        const HOW: &str = "write for example: size < 10MB";
        let at = self.here();
        let operator = self.take().map_or("", |token| token.text);
        let comparison: fn(u64) -> (u64, u64) = match operator {
            "<" => |size| if size == 0 { (1, 0) } else { (0, size - 1) },
            "<=" => |size| (0, size),
            ">" => |size| if size == u64::MAX { (1, 0) } else { (size + 1, u64::MAX) },
            ">=" => |size| (size, u64::MAX),
            "=" => |size| (size, size),
            _ => return wrong(at, "does not compare 'size' with <, <=, >, >= or =", HOW),
        };
        let at = self.here();
        let number = self.take().map_or("", |token| token.text);
        // The unit may stand apart.
        let unit = match self.peek() {
            Some(token)
                if token.kind == Kind::Word && !token.is("and") && number.bytes().all(|b| b.is_ascii_digit()) =>
            {
                self.next += 1;
                token.text
            }
            _ => "",
        };
        let written = format!("{number}{unit}");
        match parse_size(&written) {
            Ok(size) => Ok({
                let (least, most) = comparison(size);
                Test::Size(least, most)
            }),
            Err(remedy) => wrong(at, format!("compares 'size' with '{written}'"), remedy),
        }
    }

    fn path(&mut self) -> Result<Test, Wrong> {
        let at = self.here();
        if !(self.takes("starts") && self.takes("with")) {
            return wrong(at, "does not say 'path starts with'", "write for example: path starts with /uploads/a/");
        }
        let token = self.value("path starts with")?;
        match token.text.parse() {
            Ok(prefix) => Ok(Test::Under(prefix, token.at)),
            Err(error) => wrong(token.at, format!("has the path '{}'", token.text), format!("{error}")),
        }
    }

    fn words(&mut self, field: Field) -> Result<Test, Wrong> {
        let name = field.as_str();
        let at = self.here();
        if !self.takes("is") {
            let remedy = format!("write '{name} is', '{name} is not' or '{name} is one of', and then what");
            return wrong(at, format!("does not say what '{name}' is"), remedy);
        }
        let among = !self.takes("not");
        let at = self.here();
        let several = among && self.takes("one");
        if several && !self.takes("of") {
            return wrong(at, format!("says '{name} is one' without 'of'"), format!("write '{name} is one of'"));
        }
        let mut words = Vec::new();
        loop {
            let token = self.value(name)?;
            match normal(field, token.text) {
                Ok(word) => words.push((word, token.at)),
                Err(remedy) => return wrong(token.at, format!("compares '{name}' with '{}'", token.text), remedy),
            }
            if !(several && self.peek().is_some_and(|token| token.kind == Kind::Comma)) {
                return Ok(Test::Word { field, among, words });
            }
            self.next += 1;
        }
    }

    fn value(&mut self, what: &str) -> Result<&'t Token<'t>, Wrong> {
        let at = self.here();
        match self.take() {
            Some(token) if matches!(token.kind, Kind::Word | Kind::Quoted) => Ok(token),
            _ => wrong(at, format!("has no value after '{what}'"), "write one; in quotes '…' where it has spaces"),
        }
    }
}

/// A word as requests have it.
fn normal(field: Field, word: &str) -> Result<String, String> {
    fn name<T: std::str::FromStr<Err: std::fmt::Display> + std::fmt::Display>(word: &str) -> Result<String, String> {
        word.parse::<T>().map(|name| name.to_string()).map_err(|error| error.to_string())
    }
    let choice = |names: &[&str]| match names.contains(&word) {
        true => Ok(word.to_owned()),
        false => Err(one_of("possible values", word, names)),
    };
    match field {
        Field::ContentType => name::<MediaType>(word),
        Field::Classification => name::<ClassName>(word),
        Field::Role => name::<RoleName>(word),
        Field::Workflow => name::<WorkflowName>(word),
        Field::Method => choice(&[UploadMethod::Put.as_str(), UploadMethod::Post.as_str()]),
        Field::Environment => choice(&[Environment::Live.as_str(), Environment::Test.as_str()]),
        Field::Extension => super::super::manifest_file::plain_extension(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> (usize, String) {
        let wrong = parse(text).unwrap_err();
        (wrong.at, format!("{}; {}", wrong.problem, wrong.remedy))
    }

    #[test]
    fn terms_keep_what_was_written_and_mean_it() {
        let terms =
            parse("size<10 MB and  content-type is one of Text/CSV, application/json and path starts with '/a b/'");
        let terms = terms.unwrap();
        let texts: Vec<&str> = terms.iter().map(|term| term.text.as_str()).collect();
        let expected = ["size<10 MB", "content-type is one of Text/CSV, application/json", "path starts with '/a b/'"];
        assert_eq!(texts, expected);
        assert!(matches!(terms[0].test, Test::Size(0, 9_999_999)));
        assert!(matches!(&terms[1].test, Test::Word { among: true, words, .. } if words[0].0 == "text/csv"));
        assert!(matches!(&terms[2].test, Test::Under(prefix, _) if prefix.as_str() == "a b/"));
        let bounds = |text: &str| match parse(text).unwrap()[0].test {
            Test::Size(least, most) => (least, most),
            _ => panic!("{text}"),
        };
        assert_eq!(bounds("size <= 1KiB"), (0, 1024));
        assert_eq!(bounds("size > 1KiB"), (1025, u64::MAX));
        assert_eq!(bounds("size >= 1KiB"), (1024, u64::MAX));
        assert_eq!(bounds("size = 5 B"), (5, 5));
        assert!(matches!(&parse("role is not intern").unwrap()[0].test, Test::Word { among: false, .. }));
    }

    #[test]
    fn each_mistake_is_named_with_its_place_and_remedy() {
        for (text, at, part) in [
            ("", 0, "begin a term with a field"),
            ("siez < 10MB", 0, "did you mean 'size'?"),
            ("content-typ is text/csv", 0, "did you mean 'content-type'?"),
            ("size 10MB", 5, "with <, <=, >, >= or ="),
            ("size == 10MB", 5, "with <, <=, >, >= or ="),
            ("size < 10", 7, "powers of 1024"),
            ("size < 10 and method is PUT", 7, "powers of 1024"),
            ("size < 10 KB", 7, "did you mean \"10 kB\"?"),
            ("size < 10MB or size > 20MB", 12, "a condition of its own"),
            ("size < 10MB and", 15, "ends where a term should stand"),
            ("size < 10MB method is PUT", 12, "join terms by 'and'"),
            ("content-type text/csv", 13, "'content-type is one of'"),
            ("content-type is", 15, "has no value after 'content-type'"),
            ("content-type is text", 16, "written as type/subtype"),
            ("content-type is text/csv, text/html", 24, "write 'is one of' before them"),
            ("content-type is one text/csv", 16, "without 'of'"),
            ("method is PATCH", 10, "possible values are: PUT, POST"),
            ("method is put", 10, "possible values are: PUT, POST"),
            ("environment is staging", 15, "possible values are: live, test"),
            ("extension is .pdf", 13, "without its dot"),
            ("role is Doctor", 8, "role must be"),
            ("path is /a/", 5, "path starts with /uploads/a/"),
            ("path starts with /a/../b/", 17, "'.' or '..'"),
            ("path starts with '/a/", 17, "not closed"),
        ] {
            let (place, told) = problem(text);
            assert!(place == at && told.contains(part), "{text:?}: {place} {told}");
        }
    }
}
