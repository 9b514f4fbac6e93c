//! Reads cases: `tests/*.toml` of a policy directory, and the one case of `policy explain`.
//!
//! Keys above the first `[[case]]` hold for every case of the file that does not say otherwise; `request` there fills in
//! uploads, `object` whatever is about an object. Mistakes are reported like those of policies: file, line, column, remedy.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::domain::filename::Filename;
use crate::domain::ids::{AppName, OwnerName, RoleName, WorkflowName};
use crate::domain::principal::{Environment, Possession, Subject};
use crate::domain::refusal::Reason;
use crate::domain::scope::Scope;
use crate::policy::bodies::{DownloadBody, UploadBody};
use crate::policy::classes::values;
use crate::policy::mistake::one_of;
use crate::policy::possession::proven;
use crate::policy::reader::{At, File, Section, boolean, choice, count, duration, length, moment, read_text, text};
use crate::policy::units::show_duration;

use super::expect::Expected;
use super::question::{About, Asked, ObjectFacts, Question};
use super::run::Case;

/// When a case happens that does not say: a Tuesday at noon.
const USUAL_TIME: &str = "2026-11-24T12:00:00Z";
const USUAL_WORKFLOW: &str = "tests";

/// Everything that a case, or the top of its file, may say of a question.
#[derive(Clone, Default)]
struct Draft {
    app: Option<AppName>,
    workflow: Option<WorkflowName>,
    owner: Option<OwnerName>,
    environment: Option<Environment>,
    scopes: Option<Vec<Scope>>,
    user: Option<Subject>,
    operator: Option<String>,
    possession: Option<Option<Possession>>,
    source: Option<IpAddr>,
    time: Option<Timestamp>,
    upload: Upload,
    object: ObjectFacts,
}

/// A body of `POST /request-upload` of which parts may be absent.
#[derive(Clone, Default)]
struct Upload {
    filename: Option<String>,
    size: Option<u64>,
    content_type: Option<String>,
    path: Option<String>,
    classification: Option<String>,
    sha256: Option<String>,
    method: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    lawful_basis: Option<String>,
}

/// Reads every case of a file.
pub(super) fn read(file: &File<'_>) -> Vec<Case> {
    let (mut root, _) = file.root();
    let mut usual = read_common(&mut root);
    usual.upload = root.section("request").map(read_upload).unwrap_or_default();
    usual.object = root.section("object").map(read_object).unwrap_or_default();
    let cases = root.tables("case");
    root.finish();
    cases.into_iter().filter_map(|section| read_case(file, section, &usual)).collect()
}

/// Reads a file that is one question, without an expectation.
pub(super) fn read_question(file: &File<'_>) -> Option<Question> {
    let (mut root, _) = file.root();
    let own = read_common(&mut root);
    let question = read_asked(file, &mut root, own);
    // So that a case can be copied out of its file as it is.
    root.optional("name", plain);
    root.optional("expect", plain);
    root.optional("code", plain);
    root.optional("rule", plain);
    if let Some(section) = root.section("permits") {
        read_permits(section);
    }
    root.finish();
    question
}

fn read_case(file: &File<'_>, mut section: Section<'_>, usual: &Draft) -> Option<Case> {
    let (line, _) = file.place(section.at);
    let name = section.required("name", "name = \"a photo in the app's own directory\"", plain);
    let own = read_common(&mut section).over(usual);
    let question = read_asked(file, &mut section, own);
    let expected = read_expected(file, &mut section);
    section.finish();
    Some(Case { name: name?.value, file: file.name.to_owned(), line, question: question?, expected: expected? })
}

fn read_common(section: &mut Section<'_>) -> Draft {
    Draft {
        app: section.optional("app", text).map(value),
        workflow: section.optional("workflow", text).map(value),
        owner: section.optional("owner", text).map(value),
        environment: section.optional("environment", choice(&["live", "test"])).map(value),
        scopes: section.list("scopes", text::<Scope>).map(|list| values(list.value)),
        user: section.section("user").and_then(read_user),
        operator: section.optional("operator", plain).map(value),
        possession: section.optional("proof_of_possession", proven).map(value),
        source: section.optional("source", address).map(value),
        time: section.optional("time", moment).map(value),
        ..Draft::default()
    }
}

fn read_asked(file: &File<'_>, section: &mut Section<'_>, own: Draft) -> Option<Question> {
    let action = section.required("action", "action = \"upload\"", |value| {
        read_text(value, "put it between quotation marks", |text| match Asked::NAMES.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err(one_of("actions", text, &Asked::NAMES)),
        })
    });
    let at = section.at;
    let asked = match action.as_ref().map(|found| found.value.as_str()) {
        Some("upload") => {
            let upload = section.section("request").map(read_upload).unwrap_or_default().over(&own.upload);
            upload.finish(file, at).map(Asked::Upload)
        }
        Some("download") => {
            let body = section.section("request").map(read_download).unwrap_or_default();
            Some(Asked::Download(read_about(section, &own), body))
        }
        Some("list") => {
            let prefix = section.section("request").map(|mut section| {
                let prefix = section.optional("prefix", plain).map(value);
                section.finish();
                prefix
            });
            Some(Asked::List(prefix.flatten()))
        }
        Some("delete") => Some(Asked::Delete(read_about(section, &own))),
        Some("release") => Some(Asked::Release(read_about(section, &own))),
        Some("exchange") => {
            if own.user.is_none() {
                file.mistake(at, "nobody asks for a token", "add for example user = { id = \"u-42\" }");
            }
            section
                .required_section("request", "request = { actions = [\"read\"], seconds = 900 }")
                .and_then(read_exchange)
        }
        _ => {
            // What an unknown action asks for is not looked at.
            section.section("request");
            section.section("object");
            None
        }
    };
    if own.app.is_none() {
        file.mistake(at, "no app asks", "add for example app = \"where2eat\", here or at the top of the file");
    }
    let workflow = own.workflow.map_or_else(|| USUAL_WORKFLOW.parse().ok(), Some);
    let time = own.time.or_else(usual_time);
    Some(Question {
        asked: asked?,
        app: own.app?,
        workflow: workflow?,
        owner: own.owner,
        environment: own.environment.unwrap_or(Environment::Live),
        scopes: own.scopes,
        user: own.user,
        operator: own.operator.unwrap_or_else(|| "reviewer".to_owned()),
        possession: own.possession.flatten(),
        source: own.source,
        time: time?,
    })
}

fn read_about(section: &mut Section<'_>, own: &Draft) -> About {
    let object = section.section("object").map(read_object).unwrap_or_default();
    About::Facts(Box::new(over(object, &own.object)))
}

fn read_user(mut section: Section<'_>) -> Option<Subject> {
    let user = section.required("id", "id = \"u-42\"", plain);
    let role = section.optional("role", text::<RoleName>).map(value);
    let project = section.optional("project", plain).map(value);
    let device = section.optional("device", plain).map(value);
    let device_attested = section.optional("device_attested", boolean).is_some_and(value);
    section.finish();
    Some(Subject { user: user?.value, role, project, device, device_attested })
}

fn read_upload(mut section: Section<'_>) -> Upload {
    let mut words = |key| section.optional(key, plain).map(value);
    let (filename, content_type, path) = (words("filename"), words("contentType"), words("path"));
    let (classification, sha256, method) = (words("classification"), words("sha256"), words("method"));
    let lawful_basis = words("lawfulBasis");
    let size = section.optional("size", length).map(value);
    let metadata = section.section("metadata").map(|mut own| {
        let pairs = own.named_values(plain);
        own.finish();
        pairs.into_iter().map(|(key, found)| (key.value, found.value)).collect()
    });
    section.finish();
    Upload { filename, size, content_type, path, classification, sha256, method, metadata, lawful_basis }
}

fn read_download(mut section: Section<'_>) -> DownloadBody {
    let disposition = section.optional("disposition", plain).map(value);
    let one_time = section.optional("oneTime", boolean).map(value);
    let lawful_basis = section.optional("lawfulBasis", plain).map(value);
    section.finish();
    DownloadBody { disposition, one_time, lawful_basis, ..DownloadBody::default() }
}

fn read_exchange(mut section: Section<'_>) -> Option<Asked> {
    let actions =
        section.required_list("actions", "actions = [\"read\"]", choice(&["write", "read", "list", "delete"]));
    let seconds = section.required("seconds", "seconds = 900", count);
    section.finish();
    Some(Asked::Exchange(values(actions?.value), seconds?.value))
}

fn read_object(mut section: Section<'_>) -> ObjectFacts {
    let filename = section.optional("filename", |value| {
        read_text(value, "put it between quotation marks", |text| {
            Filename::sanitise(text).map_err(|error| error.to_string())
        })
    });
    let facts = ObjectFacts {
        app: section.optional("app", text).map(value),
        owner: section.optional("owner", text).map(value),
        path: section.optional("path", text).map(value),
        filename: filename.map(value),
        content_type: section.optional("contentType", text).map(value),
        size: section.optional("size", length).map(value),
        classification: section.optional("classification", text).map(value),
        lawful_basis: section.optional("lawfulBasis", plain).map(value),
        environment: section.optional("environment", choice(&["live", "test"])).map(value),
        target: section.optional("target", text).map(value),
        user: section.optional("user", plain).map(value),
        unscannable: section.optional("unscannable", boolean).is_some_and(value),
    };
    section.finish();
    facts
}

fn read_expected(file: &File<'_>, section: &mut Section<'_>) -> Option<Expected> {
    let expect = section.required("expect", "expect = \"allow\"", |value| {
        read_text(value, "put it between quotation marks", |text| match text {
            "allow" => Ok(true),
            "deny" => Ok(false),
            other => Err(one_of("possible values", other, &["allow", "deny"])),
        })
    });
    let code = section.optional("code", |value| {
        read_text(value, "put it between quotation marks", |text| {
            let codes: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
            Reason::from_code(text).ok_or_else(|| one_of("codes", text, &codes))
        })
    });
    let rule = section.optional("rule", plain);
    let permits = section.section("permits").map(|own| (own.at, read_permits(own)));
    let allow = expect?.value;
    if let Some(code) = code.as_ref().filter(|_| allow) {
        file.mistake(code.at, "'code' is of refusals, and the case expects \"allow\"", "remove it, or expect \"deny\"");
    }
    if let Some((at, _)) = permits.as_ref().filter(|_| !allow) {
        file.mistake(*at, "'permits' is of permits, and the case expects \"deny\"", "remove it, or expect \"allow\"");
    }
    if !allow && code.is_none() {
        file.mistake(
            section.at,
            "a refusal without 'code' proves little",
            "add for example code = \"size_not_allowed\"",
        );
    }
    let terms = permits.map(|(_, terms)| terms).unwrap_or_default();
    Some(Expected { allow, code: code.map(value), rule: rule.map(value), terms })
}

/// The terms of a permit, as [`super::question::Permitted::terms`] names them.
fn read_permits(mut section: Section<'_>) -> Vec<(&'static str, String)> {
    let mut terms = Vec::new();
    let ttl = section.optional("ttl", duration).map(|found| show_duration(found.value));
    let one_time = section.optional("one_time", boolean).map(|found| found.value.to_string());
    let approvals = section.optional("approvals", count).map(|found| found.value.to_string());
    terms.extend([("ttl", ttl), ("one_time", one_time), ("approvals", approvals)]);
    for key in ["disposition", "owner", "prefix", "target", "classification", "residency"] {
        terms.push((key, section.optional(key, plain).map(value)));
    }
    section.finish();
    terms.into_iter().filter_map(|(key, term)| Some((key, term?))).collect()
}

impl Draft {
    /// This, and where it says nothing the other one.
    fn over(self, usual: &Draft) -> Draft {
        let usual = usual.clone();
        Draft {
            app: self.app.or(usual.app),
            workflow: self.workflow.or(usual.workflow),
            owner: self.owner.or(usual.owner),
            environment: self.environment.or(usual.environment),
            scopes: self.scopes.or(usual.scopes),
            user: self.user.or(usual.user),
            operator: self.operator.or(usual.operator),
            possession: self.possession.or(usual.possession),
            source: self.source.or(usual.source),
            time: self.time.or(usual.time),
            upload: usual.upload,
            object: usual.object,
        }
    }
}

impl Upload {
    fn over(self, usual: &Upload) -> Upload {
        let usual = usual.clone();
        Upload {
            filename: self.filename.or(usual.filename),
            size: self.size.or(usual.size),
            content_type: self.content_type.or(usual.content_type),
            path: self.path.or(usual.path),
            classification: self.classification.or(usual.classification),
            sha256: self.sha256.or(usual.sha256),
            method: self.method.or(usual.method),
            metadata: self.metadata.or(usual.metadata),
            lawful_basis: self.lawful_basis.or(usual.lawful_basis),
        }
    }

    fn finish(self, file: &File<'_>, at: usize) -> Option<UploadBody> {
        for (key, missing, example) in [
            ("filename", self.filename.is_none(), "filename = \"menu.jpg\""),
            ("size", self.size.is_none(), "size = 48213"),
            ("contentType", self.content_type.is_none(), "contentType = \"image/jpeg\""),
        ] {
            if missing {
                let remedy = format!("write request = {{ {example}, … }}, here or at the top of the file");
                file.mistake(at, format!("key '{key}' is missing in [request]"), remedy);
            }
        }
        Some(UploadBody {
            filename: self.filename?,
            size: self.size?,
            content_type: self.content_type?,
            path: self.path,
            classification: self.classification,
            sha256: self.sha256,
            method: self.method,
            metadata: self.metadata,
            lawful_basis: self.lawful_basis,
        })
    }
}

fn over(own: ObjectFacts, usual: &ObjectFacts) -> ObjectFacts {
    let usual = usual.clone();
    ObjectFacts {
        app: own.app.or(usual.app),
        owner: own.owner.or(usual.owner),
        path: own.path.or(usual.path),
        filename: own.filename.or(usual.filename),
        content_type: own.content_type.or(usual.content_type),
        size: own.size.or(usual.size),
        classification: own.classification.or(usual.classification),
        lawful_basis: own.lawful_basis.or(usual.lawful_basis),
        environment: own.environment.or(usual.environment),
        target: own.target.or(usual.target),
        user: own.user.or(usual.user),
        unscannable: own.unscannable || usual.unscannable,
    }
}

/// When a case happens that does not say.
pub(super) fn usual_time() -> Option<Timestamp> {
    USUAL_TIME.parse().ok()
}

fn value<T>(found: At<T>) -> T {
    found.value
}

fn plain(value: &toml::de::DeValue<'_>) -> Result<String, crate::policy::reader::Wrong> {
    read_text(value, "put it between quotation marks", |text| Ok(text.to_owned()))
}

fn address(value: &toml::de::DeValue<'_>) -> Result<IpAddr, crate::policy::reader::Wrong> {
    read_text(value, "put it between quotation marks", |text| {
        text.parse().map_err(|_| "write an address like 192.0.2.7 or 2001:db8::1".to_owned())
    })
}
