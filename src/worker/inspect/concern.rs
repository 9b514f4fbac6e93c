//! What a look at the content found, before the app's rules decide what follows from it.

/// One thing about the content that is not as it should be. The text is one sentence for the person who uploaded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Concern {
    /// The content breaks the format that it was declared as.
    Malformed(String),
    /// The content carries code: macros, scripts, actions.
    Active(String),
    /// The content, or a part of it, cannot be read without a password.
    Encrypted(String),
    /// An archive that is contradictory, or unpacks to more than the app's rules allow.
    Unsafe(String),
    /// The gateway cannot look inside.
    Opaque(String),
}

/// What was recognised and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// The type that the bytes have, in canonical spelling; `None` where nothing is recognised.
    pub(super) detected: Option<&'static str>,
    /// In the order in which they were found.
    pub(super) concerns: Vec<Concern>,
}

impl Content {
    pub(super) fn of(detected: &'static str) -> Self {
        Self { detected: Some(detected), concerns: Vec::new() }
    }

    pub(super) fn with(mut self, concern: Option<Concern>) -> Self {
        self.concerns.extend(concern);
        self
    }
}
