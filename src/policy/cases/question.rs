//! One question to a policy set: who asks for what, when and from where.
//!
//! It is kept as a client would write it and parsed only when it is asked, so that what the edge of HTTP refuses is
//! refused here with the same code. What a question leaves open (the owner, an object's target and place) is filled in
//! from the set that is asked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::admin::AdminRoles;
use crate::domain::bytes::StoredBytes;
use crate::domain::filename::Filename;
use crate::domain::grant::{Disposition, UploadMethod};
use crate::domain::ids::{AppName, ClassName, GrantId, ObjectId, OwnerName, ParseIdError, TargetName, WorkflowName};
use crate::domain::key::{ObjectKeys, Prefix};
use crate::domain::life::Life;
use crate::domain::media::MediaType;
use crate::domain::object::Object;
use crate::domain::principal::{Environment, Operator, Possession, Principal, Subject};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::scope::{Action, Scope};
use crate::domain::target::Target;
use crate::policy::bodies::{DownloadBody, UploadBody, invalid, list_prefix};
use crate::policy::units::show_duration;
use crate::policy::{
    Circumstances, ExchangeRequest, Manifest, PolicySet, UploadRequest, Wanted, decide_download, decide_exchange,
    decide_list, decide_on_object, decide_review, decide_upload, release_approvals,
};

/// Which upload methods a target's provider can sign: known to the layer that signs.
pub type Methods = fn(&Target) -> &'static [UploadMethod];

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// `POST /request-upload`.
    Upload(UploadBody),
    /// `POST /request-download`; which object is said beside the body.
    Download(About, DownloadBody),
    /// `GET /objects` under a prefix.
    List(Option<String>),
    /// `DELETE /objects/{id}`.
    Delete(About),
    /// An operator lets a held object through.
    Release(About),
    /// A person wants a token of the app: which actions it shall allow, and for how many seconds.
    Exchange(Vec<Action>, u64),
}

impl Asked {
    /// The actions' names, as cases write them.
    pub(super) const NAMES: [&str; 6] = ["upload", "download", "list", "delete", "release", "exchange"];

    /// The action's name.
    pub fn name(&self) -> &'static str {
        match self {
            Asked::Upload(_) => "upload",
            Asked::Download(..) => "download",
            Asked::List(_) => "list",
            Asked::Delete(_) => "delete",
            Asked::Release(_) => "release",
            Asked::Exchange(..) => "exchange",
        }
    }
}

impl Asked {
    /// What a scope must allow; none where no token's scope is looked at.
    pub(super) fn action(&self) -> Option<Action> {
        match self {
            Asked::Upload(_) => Some(Action::Write),
            Asked::Download(..) => Some(Action::Read),
            Asked::List(_) => Some(Action::List),
            Asked::Delete(_) => Some(Action::Delete),
            Asked::Release(_) | Asked::Exchange(..) => None,
        }
    }
}

/// The object that is asked for.
#[derive(Clone, Debug)]
pub enum About {
    /// One that exists.
    Object(Box<Object>),
    /// One that is described.
    Facts(Box<ObjectFacts>),
}

/// An object as far as rules look at it. What is absent is what the app's manifest makes of a usual upload.
#[derive(Clone, Debug, Default)]
pub struct ObjectFacts {
    /// Whose it is; the asker's where absent.
    pub app: Option<AppName>,
    /// Who answers for it; the app's owner where absent.
    pub owner: Option<OwnerName>,
    /// Where it lies, without its id and name; the app's prefix where absent.
    pub path: Option<Prefix>,
    /// Its file name.
    pub filename: Option<Filename>,
    /// Its type; the first of the app's where absent.
    pub content_type: Option<MediaType>,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Its class; the app's default, or the first, where absent.
    pub classification: Option<ClassName>,
    /// The lawful basis that its upload named.
    pub lawful_basis: Option<String>,
    /// Real or for trying things out; as the asker where absent.
    pub environment: Option<Environment>,
    /// The bucket or container; the app's of that environment where absent.
    pub target: Option<TargetName>,
    /// Whose workflow uploaded it.
    pub user: Option<String>,
    /// Whether it waits for a review because nobody could judge it; else because malware was found.
    pub unscannable: bool,
}

/// One question.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is asked for.
    pub asked: Asked,
    /// The asker's app.
    pub app: AppName,
    /// The asker's workflow.
    pub workflow: WorkflowName,
    /// Who answers for the workflow; the app's owner where absent.
    pub owner: Option<OwnerName>,
    /// Of the token.
    pub environment: Environment,
    /// Of the token; everything of the app where absent.
    pub scopes: Option<Vec<Scope>>,
    /// On whose behalf the workflow acts; who wants a token.
    pub user: Option<Subject>,
    /// Who reviews.
    pub operator: String,
    /// How it was proven that the asker holds the token's key; none where it is bound to none.
    pub possession: Option<Possession>,
    /// The client's address.
    pub source: Option<IpAddr>,
    /// When.
    pub time: Timestamp,
}

/// What an allowing answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permitted {
    /// The rules that allowed it.
    pub rule: Arc<str>,
    /// How long the URL may live.
    pub ttl: Option<Duration>,
    /// Whether the URL is a one-time link.
    pub one_time: Option<bool>,
    /// How a browser should treat a download.
    pub disposition: Option<Disposition>,
    /// Whose quota an upload is charged to.
    pub owner: Option<OwnerName>,
    /// Where an upload will lie.
    pub prefix: Option<Prefix>,
    /// In which bucket or container.
    pub target: Option<TargetName>,
    /// The class that applies.
    pub classification: Option<ClassName>,
    /// Where the data resides.
    pub residency: Option<Arc<str>>,
    /// How many different reviewers must agree to a release.
    pub approvals: Option<u8>,
}

impl Permitted {
    /// Everything but the rule, as text; the same names in the same order for every answer.
    pub fn terms(&self) -> [(&'static str, String); 9] {
        fn text<T: ToString>(value: Option<&T>) -> String {
            value.map_or_else(|| "none".to_owned(), ToString::to_string)
        }
        [
            ("ttl", text(self.ttl.map(show_duration).as_ref())),
            ("one_time", text(self.one_time.as_ref())),
            ("disposition", text(self.disposition.map(Disposition::as_str).as_ref())),
            ("owner", text(self.owner.as_ref())),
            ("prefix", text(self.prefix.as_ref())),
            ("target", text(self.target.as_ref())),
            ("classification", text(self.classification.as_ref())),
            ("residency", text(self.residency.as_ref())),
            ("approvals", text(self.approvals.as_ref())),
        ]
    }
}

impl Question {
    /// Asks the set.
    ///
    /// # Errors
    /// The refusal that a client would get.
    pub fn ask(&self, set: &PolicySet, methods: Methods) -> Result<Permitted, Refusal> {
        let who = self.principal(set)?;
        let circumstances = self.circumstances();
        match &self.asked {
            Asked::Upload(body) => {
                let request = UploadRequest::try_from(body.clone())?;
                let permit = decide_upload(set, &who, &request, methods, &circumstances)?;
                Ok(Permitted {
                    rule: permit.rule,
                    ttl: Some(permit.ttl),
                    owner: Some(permit.owner),
                    prefix: Some(permit.prefix),
                    target: Some(permit.target),
                    classification: Some(permit.classification),
                    residency: Some(permit.residency),
                    ..Permitted::default()
                })
            }
            Asked::Download(about, body) => {
                let request = body.request()?;
                let permit = decide_download(set, &who, &*self.object(set, about)?, &request, &circumstances)?;
                Ok(Permitted {
                    rule: permit.rule,
                    ttl: Some(permit.ttl),
                    one_time: Some(permit.one_time),
                    disposition: Some(permit.disposition),
                    ..Permitted::default()
                })
            }
            Asked::List(prefix) => {
                let prefix = list_prefix(prefix.as_deref())?;
                decide_list(set, &who, &prefix, &circumstances).map(by_rule)
            }
            Asked::Delete(about) => {
                let object = self.object(set, about)?;
                decide_on_object(set, &who, &object, Action::Delete, &circumstances).map(by_rule)
            }
            Asked::Release(about) => {
                let operator =
                    Operator { token: None, name: self.operator.clone(), targets: vec![], roles: AdminRoles::admin() };
                let object = self.object(set, about)?;
                let rule = decide_review(set, &operator, &object, true, &circumstances)?;
                let approvals = release_approvals(set, &object.app, &object.classification).needed;
                Ok(Permitted { approvals: Some(approvals), ..by_rule(rule) })
            }
            Asked::Exchange(actions, seconds) => {
                let nobody = || invalid("user", "a token is for a person, and none asks");
                let person = self.user.as_ref().ok_or_else(nobody)?;
                let request = ExchangeRequest {
                    environment: self.environment,
                    wanted: Wanted::Actions(actions.clone()),
                    ttl: Duration::from_secs(*seconds),
                    possession: self.possession,
                };
                let permit = decide_exchange(set, person, &self.app, &request, &circumstances)?;
                Ok(Permitted {
                    rule: permit.rule,
                    ttl: Some(permit.ttl),
                    owner: Some(permit.owner),
                    prefix: permit.scopes.first().map(|scope| scope.prefix.clone()),
                    target: permit.scopes.first().and_then(|scope| scope.target.clone()),
                    ..Permitted::default()
                })
            }
        }
    }

    /// When and from where it is asked.
    pub fn circumstances(&self) -> Circumstances {
        Circumstances { now: self.time, source: self.source }
    }

    /// Who asks.
    ///
    /// # Errors
    /// None that a name of this program's own could cause.
    pub fn principal(&self, set: &PolicySet) -> Result<Principal, Refusal> {
        let scopes = self.scopes.clone().unwrap_or_else(|| vec![Scope::whole_app(self.app.clone())]);
        Ok(Principal {
            token: nothing(NO_TOKEN)?,
            app: self.app.clone(),
            workflow: self.workflow.clone(),
            owner: self.owner.clone().or_else(|| owner_of(set, &self.app)).map_or_else(|| nothing(NONE), Ok)?,
            environment: self.environment,
            scopes: scopes.into(),
            subject: self.user.clone(),
            possession: self.possession,
            sunset: None,
        })
    }

    /// The object that is asked for, filled in from the set.
    pub(super) fn object(&self, set: &PolicySet, about: &About) -> Result<Box<Object>, Refusal> {
        let facts = match about {
            About::Object(object) => return Ok(object.clone()),
            About::Facts(facts) => facts,
        };
        let app = facts.app.as_ref().unwrap_or(&self.app);
        let manifest = set.app(app);
        let environment = facts.environment.unwrap_or(self.environment);
        let own_target = || manifest.and_then(|manifest| manifest.target_for(environment).cloned());
        let target: TargetName = facts.target.clone().or_else(own_target).map_or_else(|| nothing(NONE), Ok)?;
        let who = self.principal(set)?;
        let home = |manifest: &Manifest| manifest.prefix.render(&who, self.time).ok();
        let path = facts.path.clone().or_else(|| manifest.and_then(home)).unwrap_or_else(Prefix::root);
        let first_type = manifest.and_then(|manifest| manifest.types.first().cloned());
        let content_type = facts.content_type.clone().or(first_type);
        let filename = match &facts.filename {
            Some(filename) => filename.clone(),
            None => Filename::sanitise("file").map_err(|error| invalid("filename", error))?,
        };
        let class =
            || manifest.and_then(|own| own.default_classification.clone().or(own.classifications.first().cloned()));
        let staging = set.target(&target).map_or_else(Prefix::root, |target| target.staging_prefix.clone());
        let id = ObjectId::from_uuid(Uuid::nil());
        let keys = ObjectKeys::new(&staging, &path, id, &filename)
            .map_err(|error| Refusal::new(Reason::InvalidPath, format!("path: {error}.")))?;
        Ok(Box::new(Object {
            id,
            grant: GrantId::from_uuid(Uuid::nil()),
            app: app.clone(),
            workflow: self.workflow.clone(),
            token: nothing(NO_TOKEN)?,
            owner: facts.owner.clone().or_else(|| owner_of(set, app)).map_or_else(|| nothing(NONE), Ok)?,
            environment,
            user: facts.user.clone(),
            residency: set.target(&target).map_or_else(|| Arc::from(""), |target| target.residency.clone()),
            target,
            keys,
            original_filename: filename.as_str().to_owned(),
            filename,
            content_type: content_type
                .map_or_else(|| BYTES.parse().map_err(|error| invalid("contentType", error)), Ok)?,
            size: facts.size.unwrap_or(1),
            sha256: None,
            method: UploadMethod::Put,
            classification: facts.classification.clone().or_else(class).map_or_else(|| nothing(NONE), Ok)?,
            lawful_basis: facts.lawful_basis.clone(),
            metadata: BTreeMap::new(),
            created_at: self.time,
            upload_expires_at: self.time,
            updated_at: self.time,
            revision: 0,
            life: if facts.unscannable { unscannable() } else { Life::Issued },
        }))
    }
}

fn by_rule(rule: Arc<str>) -> Permitted {
    Permitted { rule, ..Permitted::default() }
}

fn owner_of(set: &PolicySet, app: &AppName) -> Option<OwnerName> {
    set.app(app).map(|manifest| manifest.owner.clone())
}

fn unscannable() -> Life {
    let staged = StoredBytes { etag: String::new(), version: None, size: 0 };
    Life::Unscannable { staged, verdict: None, detail: String::new() }
}

/// A name that stands for nothing: nobody's token, an owner where no manifest names one. No rule looks at it.
fn nothing<T: FromStr<Err = ParseIdError>>(name: &str) -> Result<T, Refusal> {
    name.parse().map_err(|error| invalid("name", error))
}

const NO_TOKEN: &str = "0000000000000000";
const NONE: &str = "none";
/// Bytes of no known type (RFC 2046).
const BYTES: &str = "application/octet-stream";
