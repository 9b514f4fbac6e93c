//! The one place that spells object keys.
//!
//! A staged upload lies at `<staging prefix><app prefix><object id>/<filename>`; its served copy at
//! `<app prefix><object id>/<filename>`. Client URLs are only ever minted for the first to write and for the second to
//! read. A key holds no empty, `.` or `..` segment, no control character, and at most 1,024 bytes of UTF-8 (the limit of
//! both S3 and Azure Blob). Absent on purpose: joining strings to keys anywhere else.

use std::cell::LazyCell;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::filename::Filename;
use super::ids::{AppName, ObjectId, WorkflowName};
use super::principal::Principal;

/// Longest key in bytes.
pub const MAX_KEY: usize = 1024;

/// Which side of the inner door a key lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Area {
    /// Where clients write and nothing is ever served from.
    Staging,
    /// Where promoted copies lie and no client URL may write.
    Served,
}

/// A key in one area of a target.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    area: Area,
    path: String,
}

/// Why a prefix or key is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An empty, `.` or `..` segment.
    #[error("a path has no empty, '.' or '..' parts and no leading '/'")]
    Segment,
    /// A character that keys must not hold.
    #[error("a path holds letters, digits and - _ . = @ , ( ) and spaces only")]
    Character,
    /// Longer than [`MAX_KEY`] bytes.
    #[error("a key has at most 1,024 bytes")]
    TooLong,
    /// The template names a placeholder that does not exist.
    #[error("a prefix template knows {{app}} {{workflow}} {{user}} {{yyyy}} {{mm}} {{dd}} only")]
    Placeholder,
    /// The template asks for a user and the principal has none.
    #[error("this prefix needs a user, and the token belongs to a workflow alone")]
    NoUser,
}

/// A directory-like prefix: empty, or segments that each end in `/`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(Arc<str>);

impl Prefix {
    /// The empty prefix, which contains every key.
    pub fn root() -> Self {
        Self(Arc::from(""))
    }

    /// The prefix as text; ends in `/` unless empty.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True where everything under `other` also lies under `self`.
    pub fn contains(&self, other: &Prefix) -> bool {
        other.0.starts_with(&*self.0)
    }

    /// True where `path` lies under this prefix.
    pub fn contains_path(&self, path: &str) -> bool {
        path.starts_with(&*self.0)
    }

    /// `self` followed by `other`.
    pub fn join(&self, other: &Prefix) -> Prefix {
        Prefix(format!("{}{}", self.0, other.0).into())
    }
}

impl FromStr for Prefix {
    type Err = KeyError;

    /// Accepts one leading `/` and a missing trailing one, as people write them: `/invoices/2026` is `invoices/2026/`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.strip_prefix('/').unwrap_or(text);
        if text.is_empty() {
            return Ok(Self::root());
        }
        let body = text.strip_suffix('/').unwrap_or(text);
        check_segments(body)?;
        if body.len() + 1 > MAX_KEY / 2 {
            return Err(KeyError::TooLong);
        }
        Ok(Self(format!("{body}/").into()))
    }
}

impl TryFrom<String> for Prefix {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0.as_ref().to_owned()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

fn check_segments(path: &str) -> Result<(), KeyError> {
    for segment in path.split('/') {
        if segment.is_empty() || segment == "." || segment == ".." {
            return Err(KeyError::Segment);
        }
        let safe = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | '@' | ',' | '(' | ')' | ' ');
        if !segment.chars().all(|c| safe(c) || ('\u{300}'..='\u{36f}').contains(&c)) {
            return Err(KeyError::Character);
        }
    }
    Ok(())
}

impl ObjectKey {
    /// A key read back from the database or listed from a store; checked like any other.
    ///
    /// # Errors
    /// [`KeyError`] where the path is none that this gateway could have written.
    pub fn parse(area: Area, path: &str) -> Result<Self, KeyError> {
        if path.len() > MAX_KEY {
            return Err(KeyError::TooLong);
        }
        check_segments(path)?;
        Ok(Self { area, path: path.to_owned() })
    }

    /// Which area the key lies in.
    pub fn area(&self) -> Area {
        self.area
    }

    /// The full path inside the bucket or container, without a leading `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The object that the key was made for: its last directory. `None` where that is no object id.
    pub fn object_id(&self) -> Option<ObjectId> {
        self.path.rsplit('/').nth(1)?.parse().ok()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{:?}", self.area, self.path)
    }
}

/// Both keys of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectKeys {
    /// Where the client writes.
    pub staging: ObjectKey,
    /// Where the promoted copy lies.
    pub served: ObjectKey,
}

impl ObjectKeys {
    /// Spells both keys.
    ///
    /// # Errors
    /// [`KeyError::TooLong`] where the staging key would exceed [`MAX_KEY`].
    pub fn new(staging: &Prefix, app: &Prefix, id: ObjectId, filename: &Filename) -> Result<Self, KeyError> {
        let id = id.text();
        let served = [app.as_str(), id.as_str(), "/", filename.as_str()].concat();
        let staged = [staging.as_str(), &served].concat();
        if staged.len() > MAX_KEY {
            return Err(KeyError::TooLong);
        }
        Ok(Self {
            staging: ObjectKey { area: Area::Staging, path: staged },
            served: ObjectKey { area: Area::Served, path: served },
        })
    }
}

/// An app's prefix with placeholders: `{app}`, `{workflow}`, `{user}`, `{yyyy}`, `{mm}`, `{dd}` (UTC).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrefixTemplate(Arc<str>);

const PLACEHOLDERS: [&str; 6] = ["{app}", "{workflow}", "{user}", "{yyyy}", "{mm}", "{dd}"];

impl PrefixTemplate {
    /// The template as written, normalised to end in `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first placeholder, cut at a `/`: every rendering starts with it.
    pub fn fixed_part(&self) -> Prefix {
        let fixed = self.0.split('{').next().unwrap_or_default();
        Prefix(fixed[..fixed.rfind('/').map_or(0, |i| i + 1)].into())
    }

    /// The prefix for this principal at this time.
    ///
    /// # Errors
    /// [`KeyError::NoUser`] where the template asks for a user and there is none; [`KeyError::Character`] or
    /// [`KeyError::Segment`] where the user's id is not safe in a key.
    pub fn render(&self, who: &Principal, now: Timestamp) -> Result<Prefix, KeyError> {
        self.fill(&who.app, &who.workflow, who.user(), now)
    }

    /// Where the files of this workflow and person lie whatever the day: what stands before the first date, by whole
    /// segments.
    ///
    /// # Errors
    /// As for [`PrefixTemplate::render`].
    pub fn lasting(&self, app: &AppName, workflow: &WorkflowName, user: Option<&str>) -> Result<Prefix, KeyError> {
        let end = self.before_dates().len();
        Self(self.0[..end].into()).fill(app, workflow, user, Timestamp::UNIX_EPOCH)
    }

    /// Whether the person's place lies in one of a date, so that no one prefix is the person's alone.
    pub fn has_user_behind_date(&self) -> bool {
        self.0[self.before_dates().len()..].contains("{user}")
    }

    fn before_dates(&self) -> &str {
        let first = ["{yyyy}", "{mm}", "{dd}"].iter().filter_map(|date| self.0.find(date)).min();
        first.map_or(&*self.0, |at| &self.0[..self.0[..at].rfind('/').map_or(0, |slash| slash + 1)])
    }

    fn fill(
        &self,
        app: &AppName,
        workflow: &WorkflowName,
        user: Option<&str>,
        now: Timestamp,
    ) -> Result<Prefix, KeyError> {
        if !self.0.contains('{') {
            return Ok(Prefix(self.0.clone()));
        }
        let date = LazyCell::new(|| now.to_zoned(TimeZone::UTC).date());
        let mut rendered = String::with_capacity(MAX_KEY / 8);
        let mut rest = &*self.0;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').ok_or(KeyError::Placeholder)?;
            rendered.push_str(before);
            match name {
                "app" => rendered.push_str(app.as_str()),
                "workflow" => rendered.push_str(workflow.as_str()),
                "user" => match user.ok_or(KeyError::NoUser)? {
                    user if user.contains('/') => return Err(KeyError::Segment),
                    user => rendered.push_str(user),
                },
                "yyyy" => rendered.push_str(&format!("{:04}", date.year())),
                "mm" => rendered.push_str(&format!("{:02}", date.month())),
                "dd" => rendered.push_str(&format!("{:02}", date.day())),
                _ => return Err(KeyError::Placeholder),
            }
            rest = behind;
        }
        rendered.push_str(rest);
        rendered.parse()
    }
}

impl FromStr for PrefixTemplate {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let probe = PLACEHOLDERS.iter().fold(text.to_owned(), |text, placeholder| text.replace(placeholder, "x"));
        if probe.contains(['{', '}']) {
            return Err(KeyError::Placeholder);
        }
        let _: Prefix = probe.parse()?;
        let body = text.strip_prefix('/').unwrap_or(text);
        let body = body.strip_suffix('/').unwrap_or(body);
        Ok(Self(if body.is_empty() { "".into() } else { format!("{body}/").into() }))
    }
}

impl TryFrom<String> for PrefixTemplate {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<PrefixTemplate> for String {
    fn from(template: PrefixTemplate) -> Self {
        template.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ObjectId {
        ObjectId::from_uuid(uuid::Uuid::from_u128(1))
    }

    #[test]
    fn both_keys_differ_by_the_staging_prefix_alone() {
        let keys = ObjectKeys::new(
            &"incoming".parse().unwrap(),
            &"/uploads/u-42".parse().unwrap(),
            id(),
            &Filename::sanitise("menu.jpg").unwrap(),
        )
        .unwrap();
        assert_eq!(keys.served.path(), format!("uploads/u-42/{}/menu.jpg", id()));
        assert_eq!(keys.staging.path(), format!("incoming/{}", keys.served.path()));
        assert_eq!(keys.staging.object_id(), Some(id()));
    }

    #[test]
    fn prefixes_cannot_climb() {
        for text in ["../x", "a//b", "a/./b", "a/../b", "//a", "a/%2e%2e/b", "a\0b", "a\\b", "a?b"] {
            assert!(text.parse::<Prefix>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn containment_is_by_whole_segments() {
        let app: Prefix = "uploads/a".parse().unwrap();
        assert!(app.contains(&"uploads/a/b/".parse().unwrap()));
        assert!(!app.contains(&"uploads/ab/".parse().unwrap()));
    }

    #[test]
    fn a_template_renders_dates_and_refuses_unknown_placeholders() {
        let template: PrefixTemplate = "invoices/{yyyy}/{mm}/{workflow}".parse().unwrap();
        let at: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let rendered = template.render(&Principal::example(), at).unwrap();
        assert_eq!(rendered.as_str(), "invoices/2026/11/nightly/");
        assert_eq!(template.fixed_part().as_str(), "invoices/");
        assert_eq!("a/{tenant}/".parse::<PrefixTemplate>(), Err(KeyError::Placeholder));
        let lasting = |text: &str, user| {
            let template = text.parse::<PrefixTemplate>().unwrap();
            let who = Principal::example();
            template.lasting(&who.app, &who.workflow, user).map(|prefix| prefix.as_str().to_owned())
        };
        assert_eq!(lasting("a/{user}/x-{yyyy}/{mm}", Some("anna")), Ok("a/anna/".into()));
        assert_eq!(lasting("a/{workflow}/", None), Ok("a/nightly/".into()));
        assert_eq!(lasting("{yyyy}/a", None), Ok(String::new()));
        assert_eq!(lasting("a/{user}/", Some("../b")), Err(KeyError::Segment));
        assert_eq!(lasting("a/{user}/", Some("..")), Err(KeyError::Segment));
        for (text, behind) in [("a/{user}/{dd}", false), ("a/{yyyy}/{user}", true), ("{yyyy}-{user}", true)] {
            assert_eq!(text.parse::<PrefixTemplate>().unwrap().has_user_behind_date(), behind, "{text}");
        }
        let per_user: PrefixTemplate = "u/{user}/".parse().unwrap();
        assert_eq!(per_user.render(&Principal::example(), at), Err(KeyError::NoUser));
    }
}
