//! Reads TOML tables key by key and keeps the place of everything.
//!
//! Serde would stop at the first wrong value and lose the line of the others; here every key is taken by hand, wrong
//! values are reported with their place and skipped, and what nobody took is an unknown key. The parser recovers from
//! syntax errors, so that the rest of a file is still checked.

use std::str::FromStr;

use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::domain::limits::LARGEST_LIMIT;

use super::mistake::{Mistake, Report, one_of};

/// A value and the byte offset of its text.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// One policy file: its name relative to the directory, its text, and where its mistakes go.
#[derive(Debug)]
pub(super) struct File<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    pub(super) report: &'a Report,
}

/// What is wrong with a value, and what to write instead; the reader adds the key and the place.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) problem: String,
    pub(super) remedy: String,
}

impl<'a> File<'a> {
    /// Reports a mistake at a byte offset.
    pub(super) fn mistake(&self, at: usize, problem: impl Into<String>, remedy: impl Into<String>) {
        let (line, column) = self.place(at);
        let (problem, remedy) = (problem.into(), remedy.into());
        self.report.mistake(Mistake { file: self.name.to_owned(), line, column, problem, remedy });
    }

    /// The line and column, both from 1, of a byte offset.
    pub(super) fn place(&self, at: usize) -> (u32, u32) {
        let end = (0..=at.min(self.text.len())).rev().find(|&end| self.text.is_char_boundary(end)).unwrap_or(0);
        let before = &self.text[..end];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// Parses the file. The flag is false where syntax errors were reported, so that something may be missing.
    pub(super) fn root(&'a self) -> (Section<'a>, bool) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            self.mistake(at, format!("not valid TOML: {}", error.message()), "see toml.io for how TOML is written");
        }
        (Section::new(self, String::new(), 0, table.into_inner()), errors.is_empty())
    }
}

/// One table of a file, from which keys are taken.
#[derive(Debug)]
pub(super) struct Section<'a> {
    file: &'a File<'a>,
    name: String,
    /// Where the table's name stands.
    pub(super) at: usize,
    table: DeTable<'a>,
    known: Vec<&'static str>,
    taken: Vec<(&'static str, u32)>,
}

impl<'a> Section<'a> {
    fn new(file: &'a File<'a>, name: String, at: usize, table: DeTable<'a>) -> Self {
        Self { file, name, at, table, known: Vec::new(), taken: Vec::new() }
    }

    /// Takes a key that may be absent. A wrong value is reported and reads as absent.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<At<T>> {
        let value = self.take(key)?;
        self.read(key, &value, read)
    }

    /// Takes a key that must be there; `example` is the line that the remedy shows.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<At<T>> {
        match self.take(key) {
            Some(value) => self.read(key, &value, read),
            None => {
                self.missing(key, example);
                None
            }
        }
    }

    /// Takes a list that may be absent; elements that cannot be read or that stand there twice are reported. A list with
    /// an element that cannot be read reads as absent, so that nothing is concluded from a part of it.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<At<Vec<At<T>>>> {
        let value = self.take(key)?;
        let at = value.span().start;
        let Some(array) = value.get_ref().as_array() else {
            let found = kind(value.get_ref());
            self.file.mistake(at, format!("'{key}' is {found}, not a list"), "put the values between [ and ]");
            return None;
        };
        let mut items: Vec<At<T>> = Vec::with_capacity(array.len());
        let mut whole = true;
        for element in array {
            let Some(item) = self.read(key, element, &read) else {
                whole = false;
                continue;
            };
            if items.iter().any(|other| other.value == item.value) {
                let text = &self.file.text[element.span()];
                self.file.mistake(item.at, format!("'{key}' lists {text} twice"), "remove one of them");
            } else {
                items.push(item);
            }
        }
        whole.then_some(At { value: items, at })
    }

    /// Takes a list that must be there and must not be empty.
    pub(super) fn required_list<T: PartialEq>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<At<Vec<At<T>>>> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            self.missing(key, example);
            return None;
        }
        let empty = self.table.get(key).is_some_and(|value| value.get_ref().as_array().is_some_and(|a| a.is_empty()));
        let list = self.list(key, read)?;
        if empty {
            self.file.mistake(list.at, format!("'{key}' is empty"), format!("write for example {example}"));
            return None;
        }
        Some(list)
    }

    /// Takes a table that may be absent.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        self.known.push(key);
        let (name, value) = self.table.remove_entry(key)?;
        self.mark(key, name.span().start);
        self.open(key.to_owned(), name.span().start, value)
    }

    /// Takes a table that must be there.
    pub(super) fn required_section(&mut self, key: &'static str, example: &str) -> Option<Section<'a>> {
        if !self.table.contains_key(key) {
            self.missing(key, example);
        }
        self.section(key)
    }

    /// Takes the tables of a list of tables, `[[key]]`, in the order of the file; none where there is none.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Section<'a>> {
        self.known.push(key);
        let Some((name, value)) = self.table.remove_entry(key) else { return Vec::new() };
        let at = name.span().start;
        match value.into_inner() {
            DeValue::Array(elements) => {
                let open = |element: Spanned<DeValue<'a>>| self.open(key.to_owned(), element.span().start, element);
                elements.into_iter().filter_map(open).collect()
            }
            other => {
                let remedy = format!("write a heading like [[{key}]] on its own line above each of them");
                self.file.mistake(at, format!("'{key}' is {}, not a list of tables", kind(&other)), remedy);
                Vec::new()
            }
        }
    }

    /// Takes everything that is left as tables whose names the author chose, in the order of the file.
    pub(super) fn named_sections(&mut self) -> Vec<(String, Section<'a>)> {
        let table = std::mem::take(&mut self.table);
        let mut entries: Vec<_> = table.into_iter().map(|(key, value)| (key.span().start, key, value)).collect();
        entries.sort_by_key(|(at, ..)| *at);
        let open = |(at, key, value): (usize, Spanned<std::borrow::Cow<'a, str>>, Spanned<DeValue<'a>>)| {
            let name = key.into_inner().into_owned();
            Some((name.clone(), self.open(name, at, value)?))
        };
        entries.into_iter().filter_map(open).collect()
    }

    /// Takes everything that is left as values whose keys the author chose.
    pub(super) fn named_values<T>(
        &mut self,
        read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Vec<(At<String>, At<T>)> {
        let table = std::mem::take(&mut self.table);
        let pair = |(key, value): (Spanned<std::borrow::Cow<'a, str>>, Spanned<DeValue<'a>>)| {
            let key = At { at: key.span().start, value: key.into_inner().into_owned() };
            let value = self.read(&key.value, &value, &read)?;
            Some((key, value))
        };
        table.into_iter().filter_map(pair).collect()
    }

    /// Reports what nobody took, and hands out the line of every key that was.
    pub(super) fn finish(self) -> Vec<(&'static str, u32)> {
        for (key, _) in &self.table {
            let name = key.get_ref();
            let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            let problem = format!("unknown key '{name}'{place}");
            self.file.mistake(key.span().start, problem, one_of("keys", name, &self.known));
        }
        self.taken
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'a>>> {
        self.known.push(key);
        let (name, value) = self.table.remove_entry(key)?;
        self.mark(key, name.span().start);
        Some(value)
    }

    fn mark(&mut self, key: &'static str, at: usize) {
        self.taken.push((key, self.file.place(at).0));
    }

    fn missing(&self, key: &str, example: &str) {
        let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
        self.file.mistake(self.at, format!("key '{key}' is missing{place}"), format!("add for example {example}"));
    }

    fn read<T>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<At<T>> {
        let at = value.span().start;
        match read(value.get_ref()) {
            Ok(value) => Some(At { value, at }),
            Err(wrong) => {
                self.file.mistake(at, format!("'{key}' {}", wrong.problem), wrong.remedy);
                None
            }
        }
    }

    fn open(&self, name: String, at: usize, value: Spanned<DeValue<'a>>) -> Option<Section<'a>> {
        match value.into_inner() {
            DeValue::Table(table) => Some(Section::new(self.file, name, at, table)),
            other => {
                let problem = format!("'{name}' is {}, not a table", kind(&other));
                self.file.mistake(at, problem, "write a heading like [name] on its own line above the keys");
                None
            }
        }
    }
}

/// Text that parses into `T`; the parser's own message is the remedy.
pub(super) fn text<T: FromStr>(value: &DeValue<'_>) -> Result<T, Wrong>
where
    T::Err: std::fmt::Display,
{
    read_text(value, "put it between quotation marks", |text| text.parse().map_err(|error: T::Err| error.to_string()))
}

/// One of the lower- or upper-case names that serde knows for the enum `T`.
pub(super) fn choice<T: serde::de::DeserializeOwned>(
    names: &'static [&'static str],
) -> impl Fn(&DeValue<'_>) -> Result<T, Wrong> {
    move |value| {
        read_text(value, "put it between quotation marks", |text| {
            let parsed = T::deserialize(IntoDeserializer::<serde::de::value::Error>::into_deserializer(text));
            parsed.map_err(|_| one_of("possible values", text, names))
        })
    }
}

/// Text that `parse` accepts; its error is the remedy.
pub(super) fn read_text<T>(
    value: &DeValue<'_>,
    how: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, Wrong> {
    let Some(text) = value.as_str() else {
        return Err(Wrong { problem: format!("is {}, not text", kind(value)), remedy: how.to_owned() });
    };
    parse(text).map_err(|remedy| Wrong { problem: format!("cannot be '{}'", shown(text)), remedy })
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Wrong> {
    let problem = || format!("is {}, not true or false", kind(value));
    value.as_bool().ok_or_else(|| Wrong { problem: problem(), remedy: "write true or false without quotes".to_owned() })
}

/// A whole number of at least 1.
pub(super) fn count(value: &DeValue<'_>) -> Result<u64, Wrong> {
    let remedy = || "write a whole number of at least 1 without quotes, for example 1000".to_owned();
    let Some(number) = value.as_integer() else {
        return Err(Wrong { problem: format!("is {}, not a whole number", kind(value)), remedy: remedy() });
    };
    match u64::from_str_radix(number.as_str(), number.radix()) {
        Ok(number) if (1..=i64::MAX.unsigned_abs()).contains(&number) => Ok(number),
        _ => Err(Wrong { problem: format!("cannot be {number}"), remedy: remedy() }),
    }
}

/// A length in bytes: a whole number, or text with a unit.
pub(super) fn length(value: &DeValue<'_>) -> Result<u64, Wrong> {
    match value.as_integer() {
        Some(number) => u64::from_str_radix(number.as_str(), number.radix()).map_err(|_| Wrong {
            problem: format!("cannot be {number}"),
            remedy: "write a number of bytes from 0 on, or a size like \"10 MiB\"".to_owned(),
        }),
        None => size(value),
    }
}

/// A moment (RFC 3339), with or without quotes.
pub(super) fn moment(value: &DeValue<'_>) -> Result<jiff::Timestamp, Wrong> {
    const HOW: &str = "write it like 2026-11-21T20:00:00Z";
    match value.as_datetime() {
        Some(time) => {
            time.to_string().parse().map_err(|_| Wrong { problem: format!("cannot be {time}"), remedy: HOW.to_owned() })
        }
        None => read_text(value, HOW, |text| text.parse().map_err(|_| HOW.to_owned())),
    }
}

/// A number of requests: at least 1, at most [`LARGEST_LIMIT`].
pub(super) fn rate(value: &DeValue<'_>) -> Result<u32, Wrong> {
    let number = count(value)?;
    u32::try_from(number).ok().filter(|rate| *rate <= LARGEST_LIMIT).ok_or_else(|| Wrong {
        problem: format!("cannot be {number}"),
        remedy: format!("write at most {LARGEST_LIMIT}"),
    })
}

/// A size of at least one byte with its unit.
pub(super) fn size(value: &DeValue<'_>) -> Result<u64, Wrong> {
    read_text(value, "write it in quotes with a unit, for example \"10 MiB\"", |text| {
        match super::units::parse_size(text) {
            Ok(bytes) if bytes > i64::MAX.unsigned_abs() => Err("the size is larger than any file".to_owned()),
            Ok(0) => Err("write a size of at least \"1 B\"".to_owned()),
            other => other,
        }
    })
}

/// A duration with its unit.
pub(super) fn duration(value: &DeValue<'_>) -> Result<std::time::Duration, Wrong> {
    read_text(value, "write it in quotes with a unit, for example \"5m\"", super::units::parse_duration)
}

/// A duration that may be days.
pub(super) fn life(value: &DeValue<'_>) -> Result<std::time::Duration, Wrong> {
    read_text(value, "write it in quotes with a unit, for example \"90d\" or \"24h\"", super::units::parse_life)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
