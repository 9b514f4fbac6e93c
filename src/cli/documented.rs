//! Every `vestibule …` line of README.md and docs/ is one that this command line takes.
//!
//! Lines of blocks are parsed whole; what stands within a sentence may be a part of a command. Words in capitals and with `$`
//! stand for something of the reader's, and are any value. Absent on purpose: whether the commands succeed, which the tests of
//! each document try.

use std::path::Path;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Cli;

/// The words of a shell line, up to a comment, a pipe, a redirection or the end of a substitution.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '|' | '>' | '<' | ')' | ';') => {
                // The number of a redirection is none of the command's.
                word = word.filter(|word| word.parse::<u8>().is_err());
                break;
            }
            (None, '#') if word.is_none() => break,
            (None, ' ') => all.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    all.extend(word);
    all
}

/// The commands of a document: those of its blocks and, as `false`, those within sentences.
fn commands(text: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.replace("\\\n", " ").lines().map(str::trim_start) {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            let start =
                if line.starts_with("vestibule ") { Some(0) } else { line.find("$(vestibule ").map(|at| at + 2) };
            let whole = !line.contains('…') && !line.split(" #").next().is_some_and(|command| command.contains('|'));
            found.extend(start.map(|at| (line[at..].to_owned(), whole)));
        } else {
            let spans = line.split('`').skip(1).step_by(2).filter(|span| span.starts_with("vestibule "));
            found.extend(spans.map(|span| (span.replace(['[', ']'], ""), false)));
        }
    }
    found
}

/// Whether a word stands for something of the reader's.
fn stands_for_something(word: &str) -> bool {
    word.starts_with('$') || !word.chars().any(char::is_lowercase)
}

fn mistake(command: &str, whole: bool) -> Option<String> {
    let error = Cli::try_parse_from(words(command)).err()?;
    let good = match error.kind() {
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => !whole,
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(word)) if stands_for_something(word))
        }
        _ => false,
    };
    (!good).then(|| format!("{command}\n{error}"))
}

#[test]
fn every_command_of_the_documents_is_one() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![top.join("README.md")];
    files.extend(std::fs::read_dir(top.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let mut mistakes = Vec::new();
    let mut seen = 0;
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        for (command, whole) in commands(&std::fs::read_to_string(file).unwrap()) {
            seen += 1;
            mistakes.extend(mistake(&command, whole).map(|mistake| format!("{}: {mistake}", file.display())));
        }
    }
    assert!(seen > 50, "{seen}");
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    assert!(mistake("vestibule revoke workflow where2eat/menu-import --reason x", true).is_some());
    assert!(mistake("vestibule revoke workflow where2eat --reason x", true).is_some());
}
