//! JSON, checked byte by byte as it streams past (RFC 8259).
//!
//! A pushdown automaton with a stack of at most [`MAX_DEPTH`] entries and no other memory, so that a JSON file of any
//! size is checked; a parser that builds values, or keeps a long string, would not do. UTF-8 is checked by the text
//! lane around it. Deliberately absent: duplicate keys and the range of numbers, which JSON leaves to its readers.

use super::super::concern::Concern;

/// Deepest nesting that is followed; `serde_json` stops at 128, other parsers at 1,000 or less.
const MAX_DEPTH: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    ValueOrEnd,
    KeyOrEnd,
    Key,
    Colon,
    AfterValue,
    Text { key: bool },
    Escape { key: bool },
    Hex { key: bool, left: u8 },
    Word(&'static [u8]),
    Minus,
    Zero,
    Int,
    Dot,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    Failed,
}

/// The automaton.
#[derive(Debug)]
pub(super) struct JsonScan {
    state: State,
    /// The open containers; `true` is an object.
    open: Vec<bool>,
    /// Whether several values may follow each other, as in JSON lines.
    lines: bool,
    /// Whether a line end has passed since the last value.
    fresh_line: bool,
    values: u64,
    offset: u64,
    concern: Option<Concern>,
}

impl JsonScan {
    pub(super) fn new(lines: bool) -> Self {
        Self { state: State::Value, open: Vec::new(), lines, fresh_line: true, values: 0, offset: 0, concern: None }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.state == State::Failed {
                return;
            }
            self.step(byte);
            self.offset += 1;
        }
    }

    pub(super) fn finish(mut self) -> Option<Concern> {
        // A number at the top level ends with the text.
        if self.open.is_empty()
            && matches!(self.state, State::Zero | State::Int | State::Fraction | State::ExponentDigits)
        {
            self.value_ends();
        }
        let complete = match self.state {
            State::AfterValue => self.open.is_empty(),
            State::Value => self.lines && self.open.is_empty(),
            _ => false,
        };
        if !complete && self.concern.is_none() {
            self.fail("it ends in the middle");
        }
        self.concern
    }

    fn fail(&mut self, what: &str) {
        self.state = State::Failed;
        let offset = self.offset;
        self.concern = Some(Concern::Malformed(format!("The file is not valid JSON: {what} (byte {offset}).")));
    }

    fn value_ends(&mut self) {
        self.state = State::AfterValue;
        if self.open.is_empty() {
            self.values += 1;
            self.fresh_line = false;
        }
    }

    fn opens(&mut self, object: bool) {
        if self.open.len() == MAX_DEPTH {
            self.state = State::Failed;
            self.concern = Some(Concern::Opaque(format!("The JSON is nested more than {MAX_DEPTH} levels deep.")));
            return;
        }
        self.open.push(object);
        self.state = if object { State::KeyOrEnd } else { State::ValueOrEnd };
    }

    fn closes(&mut self, object: bool) {
        if self.open.pop() == Some(object) { self.value_ends() } else { self.fail("a bracket has no partner") }
    }

    fn step(&mut self, byte: u8) {
        let space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        match self.state {
            State::Value | State::ValueOrEnd | State::KeyOrEnd | State::Key | State::Colon | State::AfterValue
                if space =>
            {
                self.fresh_line |= byte == b'\n';
            }
            State::ValueOrEnd if byte == b']' => self.closes(false),
            State::Value | State::ValueOrEnd => self.value_begins(byte),
            State::KeyOrEnd if byte == b'}' => self.closes(true),
            State::KeyOrEnd | State::Key if byte == b'"' => self.state = State::Text { key: true },
            State::KeyOrEnd | State::Key => self.fail("a name in quotes is missing"),
            State::Colon if byte == b':' => self.state = State::Value,
            State::Colon => self.fail("a colon is missing"),
            State::AfterValue => self.after_value(byte),
            State::Text { key } => match byte {
                b'"' if key => self.state = State::Colon,
                b'"' => self.value_ends(),
                b'\\' => self.state = State::Escape { key },
                0..0x20 => self.fail("a text holds a control character"),
                _ => {}
            },
            State::Escape { key } => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.state = State::Text { key },
                b'u' => self.state = State::Hex { key, left: 4 },
                _ => self.fail("an escape is unknown"),
            },
            State::Hex { key, left } if byte.is_ascii_hexdigit() => {
                self.state = if left == 1 { State::Text { key } } else { State::Hex { key, left: left - 1 } };
            }
            State::Hex { .. } => self.fail("an escape is cut short"),
            State::Word([only]) if *only == byte => self.value_ends(),
            State::Word([first, rest @ ..]) if *first == byte => self.state = State::Word(rest),
            State::Word(_) => self.fail("a word is unknown"),
            State::Failed => {}
            _ => self.number(byte),
        }
    }

    fn value_begins(&mut self, byte: u8) {
        match byte {
            b'{' => self.opens(true),
            b'[' => self.opens(false),
            b'"' => self.state = State::Text { key: false },
            b't' => self.state = State::Word(b"rue"),
            b'f' => self.state = State::Word(b"alse"),
            b'n' => self.state = State::Word(b"ull"),
            b'-' => self.state = State::Minus,
            b'0' => self.state = State::Zero,
            b'1'..=b'9' => self.state = State::Int,
            _ => self.fail("a value is missing"),
        }
    }

    fn after_value(&mut self, byte: u8) {
        match (self.open.last(), byte) {
            (Some(true), b',') => self.state = State::Key,
            (Some(false), b',') => self.state = State::Value,
            (Some(_), b'}') => self.closes(true),
            (Some(_), b']') => self.closes(false),
            (None, _) if self.lines && self.fresh_line => self.value_begins(byte),
            (None, _) => self.fail("something follows its end"),
            (Some(_), _) => self.fail("a comma is missing"),
        }
    }

    fn number(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Minus, b'0') => State::Zero,
            (State::Minus | State::Int, b'0'..=b'9') => State::Int,
            (State::Zero | State::Int, b'.') => State::Dot,
            (State::Zero | State::Int | State::Fraction, b'e' | b'E') => State::Exponent,
            (State::Dot | State::Fraction, b'0'..=b'9') => State::Fraction,
            (State::Exponent, b'+' | b'-') => State::ExponentSign,
            (State::Exponent | State::ExponentSign | State::ExponentDigits, b'0'..=b'9') => State::ExponentDigits,
            (State::Zero | State::Int | State::Fraction | State::ExponentDigits, _) => {
                self.value_ends();
                // The byte after a number is not part of it.
                return self.step(byte);
            }
            _ => return self.fail("a number is malformed"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str, lines: bool) -> Option<Concern> {
        let mut scan = JsonScan::new(lines);
        for byte in text.as_bytes() {
            scan.feed(std::slice::from_ref(byte));
        }
        scan.finish()
    }

    #[test]
    fn valid_and_invalid_texts_are_told_apart() {
        for text in ["{}", "[]", " {\"a\":[1,-0.5e+3,true,null,\"\\u00e9\\n\"]} \n", "0", "\"x\"", "[[],{}]", "12"] {
            assert_eq!(verdict(text, false), None, "{text}");
        }
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "[1 2]",
            "01",
            "1.",
            "-",
            "1e",
            "tru",
            "\"\n\"",
            "\"\\x\"",
            "{} {}",
            "[}",
            "]",
            "<html>",
            "{\"a\":1}<script>",
            "'a'",
            "NaN",
        ] {
            assert!(matches!(verdict(text, false), Some(Concern::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn lines_hold_one_value_each() {
        assert_eq!(verdict("{\"a\":1}\n{\"a\":2}\n", true), None);
        assert_eq!(verdict("1\n2", true), None);
        assert_eq!(verdict("", true), None);
        assert!(verdict("{} {}\n", true).is_some());
        assert!(verdict("{}\n{", true).is_some());
    }

    #[test]
    fn too_deep_is_not_judged_instead_of_followed() {
        let deep = "[".repeat(MAX_DEPTH + 1);
        assert!(matches!(verdict(&deep, false), Some(Concern::Opaque(_))));
        let fine = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(verdict(&fine, false), None);
    }

    proptest::proptest! {
        #[test]
        fn it_agrees_with_serde_json(text in "[\\[\\]{},:\"a0-9.eE+\\- tn\\\\u]{0,24}") {
            let reference = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            proptest::prop_assert_eq!(verdict(&text, false).is_none(), reference, "{}", text);
        }
    }
}
