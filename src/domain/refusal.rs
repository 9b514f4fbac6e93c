//! The one table of reasons: stable code, HTTP status, title, and what to do next.
//!
//! HTTP answers, audit entries, metrics and `docs/errors.md` are all made from it. Codes never change their meaning;
//! a new situation gets a new code. The status lives here, not in `http`, because the audit trail records it too.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::text::without_tokens;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident => $code:literal, $status:literal, $title:literal, $remedy:literal;)*) => {
        /// Why something was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* #[doc = $title] $variant,)* }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),*];

            /// The stable code of the problem document.
            pub fn code(self) -> &'static str {
                match self { $(Reason::$variant => $code),* }
            }

            /// The HTTP status (RFC 9110).
            pub fn status(self) -> u16 {
                match self { $(Reason::$variant => $status),* }
            }

            /// A short summary of the kind of problem; the same for every occurrence (RFC 9457 `title`).
            pub fn title(self) -> &'static str {
                match self { $(Reason::$variant => $title),* }
            }

            /// What the reader can do about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Reason::$variant => $remedy),* }
            }
        }
    };
}

reasons! {
    // The request itself.
    MalformedRequest => "malformed_request", 400, "The request could not be read", "send JSON with the fields of the API description";
    InvalidField => "invalid_field", 400, "A field has a value that is not allowed", "correct the field that the detail names";
    InvalidFilename => "invalid_filename", 400, "The file name cannot be used", "send a name with at least one letter or digit, up to 1,024 bytes";
    InvalidPath => "invalid_path", 400, "The path cannot be used", "send a path like uploads/u-42/ without '..', '//' or control characters";
    BodyTooLarge => "body_too_large", 413, "The request body is too large", "send at most 64 KiB of JSON; the file itself goes to the upload URL";
    RequestTimeout => "request_timeout", 408, "The request body did not arrive in time", "send the request again";
    UnsupportedMediaType => "unsupported_media_type", 415, "The request body is not JSON", "send the header Content-Type: application/json";
    NotFound => "not_found", 404, "There is nothing here", "check the address and the object id";
    MethodNotAllowed => "method_not_allowed", 405, "The method is not allowed here", "use a method that the Allow header lists";
    // Who asks.
    TokenMissing => "token_missing", 401, "A token is needed", "send Authorization: Bearer <token> or X-Workflow-Token: <token>";
    TokenInvalid => "token_invalid", 401, "The token is not valid", "check that the whole token was copied, or ask your platform team for a new one";
    TokenExpired => "token_expired", 401, "The token has expired", "ask your platform team for a new token";
    TokenRevoked => "token_revoked", 401, "The token has been revoked", "ask your platform team for a new token";
    DpopProofInvalid => "dpop_proof_invalid", 401, "The proof of possession is missing or not valid", "send Authorization: DPoP <token> and one header DPoP with a proof made for this request (RFC 9449)";
    DpopNonceRequired => "dpop_nonce_required", 401, "The proof of possession needs a fresh nonce", "make a new proof with the nonce of the header DPoP-Nonce and send the request again";
    CertificateMismatch => "certificate_mismatch", 401, "The client certificate does not fit the token", "connect with the certificate that the token is bound to";
    AccessBlocked => "access_blocked", 403, "Access was revoked and is blocked", "ask your platform team to lift the revocation that the detail names";
    TokenInQuery => "token_in_query", 400, "A token was sent in the address", "send the token in a header; ask for a new one, since addresses are logged";
    AssertionInvalid => "assertion_invalid", 401, "The identity provider's token is not accepted", "log in again; if it stays, ask your platform team whether the provider and its client are set up for this gateway";
    AssertionExpired => "assertion_expired", 401, "The identity provider's token has expired", "log in again and send the new token";
    RoleInsufficient => "role_insufficient", 403, "The operator's role does not cover this", "ask an operator with one of the roles that 'allowed' lists";
    // What the rules say.
    AppUnknown => "app_unknown", 403, "The app is not registered", "ask your platform team to add a manifest for the app";
    AppDisabled => "app_disabled", 403, "The app is switched off", "ask your platform team";
    ScopeInsufficient => "scope_insufficient", 403, "The token's scopes do not cover this", "use a token with the scope that the detail names";
    EnvironmentMismatch => "environment_mismatch", 403, "The token's environment does not fit the target", "use a live token for live targets and a test token for test targets";
    PathNotAllowed => "path_not_allowed", 403, "The path lies outside the app's prefix", "use a path under the prefix that 'allowed' lists";
    TypeNotAllowed => "type_not_allowed", 403, "The content type is not allowed for this app", "send one of the types that 'allowed' lists";
    ExtensionMismatch => "extension_mismatch", 403, "The file name's extension does not fit the content type", "rename the file or correct the content type";
    SizeNotAllowed => "size_not_allowed", 403, "The size is not allowed for this app", "send a file within the limit";
    ClassificationNotAllowed => "classification_not_allowed", 403, "The classification is not allowed for this app", "use one of the classes that 'allowed' lists";
    WorkflowNotAuthorised => "workflow_not_authorised", 403, "The workflow is not authorised for this class", "ask your platform team to name the class for the workflow in the app's manifest";
    UserNotAuthorised => "user_not_authorised", 403, "The person behind the token is not authorised for this class", "use a token for a person who may handle the class; your platform team makes them";
    ProofOfPossessionRequired => "proof_of_possession_required", 403, "This needs a token that is bound to a key", "ask your platform team for a token that is bound to your key or your certificate";
    LawfulBasisRequired => "lawful_basis_required", 403, "This class needs a lawful basis", "send lawfulBasis with one of the values that 'allowed' lists";
    ResidencyMismatch => "residency_mismatch", 403, "The target's region does not fit the class", "ask your platform team for a target in an allowed region";
    MethodNotSupported => "method_not_supported", 403, "The target cannot enforce this upload method", "use one of the methods that 'allowed' lists";
    ConditionNotMet => "condition_not_met", 403, "The upload meets none of the app's conditions", "change the upload so that it meets one of the conditions that 'allowed' lists";
    DispositionNotAllowed => "disposition_not_allowed", 403, "This type may not be shown inline", "ask for disposition attachment";
    DeniedByPolicy => "denied_by_policy", 403, "A policy forbids this", "ask your platform team about the rule that the detail names";
    QuotaBytesExceeded => "quota_bytes_exceeded", 403, "The byte quota is used up", "delete objects that are no longer needed, or ask for a larger quota";
    QuotaObjectsExceeded => "quota_objects_exceeded", 403, "The object quota is used up", "delete objects that are no longer needed, or ask for a larger quota";
    // Tokens for tokens. OAuth calls these unsupported_grant_type, invalid_request, invalid_target, invalid_scope.
    GrantTypeUnsupported => "grant_type_unsupported", 400, "The grant type is not offered", "send grant_type=urn:ietf:params:oauth:grant-type:token-exchange";
    TokenTypeUnsupported => "token_type_unsupported", 400, "This type of token is not taken or not made here", "use one of the types that 'allowed' lists";
    ExchangeTargetInvalid => "exchange_target_invalid", 400, "No app is named that gives tokens to this client", "name one app, as audience=<app> or resource=app:<app>; your platform team lists clients in the app's [exchange]";
    ScopeNotGranted => "scope_not_granted", 400, "A scope is more than the token may have", "ask for the scopes that 'allowed' lists, or leave the scope out";
    ExchangeNotAllowed => "exchange_not_allowed", 403, "The app gives no token to this person", "ask your platform team about [exchange] in the app's manifest";
    // How much in a window.
    QuotaDailyBytesExceeded => "quota_daily_bytes_exceeded", 429, "The bytes of the day are used up", "wait for the seconds in Retry-After, or ask for a larger quota; GET /limits shows what is left";
    QuotaHourlyUploadsExceeded => "quota_hourly_uploads_exceeded", 429, "The uploads of the hour are used up", "wait for the seconds in Retry-After, or ask for a larger quota; GET /limits shows what is left";
    QuotaMonthlyDownloadsExceeded => "quota_monthly_downloads_exceeded", 429, "The downloads of the month are used up", "wait for the seconds in Retry-After, or ask for a larger quota; GET /limits shows what is left";
    // How often.
    RateLimited => "rate_limited", 429, "Too many requests", "wait for the seconds in Retry-After; GET /limits shows what is left";
    RequestRepeated => "request_repeated", 429, "The same request was sent too often", "look for a loop in the workflow; keep the answer of the first request instead of asking again";
    // Who gets access.
    SelfApproval => "self_approval", 403, "Nobody approves his own request", "ask somebody else who may approve";
    AccessRequestDecided => "access_request_decided", 409, "The access request has ended", "look at the request first; ask for access anew";
    TokenNotRotatable => "token_not_rotatable", 409, "The token cannot be rotated", "rotate the token that followed it, or make a new one";
    // The object's state.
    ObjectNotFound => "object_not_found", 404, "There is no such object", "check the objectId; it is in the answer of request-upload";
    ObjectNotVisible => "object_not_visible", 409, "The object is not available yet", "ask the statusUrl until the state is visible, then request the download";
    ObjectHeld => "object_held", 409, "The object is held back", "ask your platform team to review it; upload a clean file as a new object";
    ObjectGone => "object_gone", 410, "The object is gone", "upload it again as a new object";
    ObjectBusy => "object_busy", 409, "The object is being processed", "try again after the time in Retry-After";
    StateConflict => "state_conflict", 409, "The object's state does not allow this", "look at the object's state first";
    RetentionActive => "retention_active", 403, "The object may not be deleted yet", "delete it after the date in retainedUntil; a legal hold without a date is lifted by its owner";
    IdempotencyKeyReused => "idempotency_key_reused", 422, "The Idempotency-Key was used with another request", "use a new key for a new request";
    IdempotencyKeySpent => "idempotency_key_spent", 409, "The Idempotency-Key's upload has already ended", "use a new key to upload again";
    ClaimInvalid => "claim_invalid", 404, "The claim link does not work", "have the access asked for anew; a claim link works once";
    LinkInvalid => "link_invalid", 404, "The link does not work", "request the download again; a one-time link works once";
    // What inspection finds; these appear as the reason of an object.
    SizeMismatch => "size_mismatch", 422, "The upload has another size than declared", "declare the exact size in bytes";
    ChecksumMismatch => "checksum_mismatch", 422, "The upload has another SHA-256 than declared", "compute the SHA-256 of the bytes that are sent";
    TypeMismatch => "type_mismatch", 422, "The content is not of the declared type", "declare the type that the file really has";
    ActiveContent => "active_content", 422, "The file carries active content", "save it without macros or scripts";
    ArchiveEncrypted => "archive_encrypted", 422, "The archive is encrypted", "send it without a password";
    ArchiveUnsafe => "archive_unsafe", 422, "The archive unpacks to far more than it holds or is malformed", "send a plain archive";
    MalwareFound => "malware_found", 422, "Malware was found", "do not send the file on; tell your security team";
    Contained => "contained", 422, "Whoever uploaded it was revoked", "ask your platform team to review it";
    CannotBeJudged => "cannot_be_judged", 422, "The file could not be judged", "ask your platform team to review it";
    ChangedAfterUpload => "changed_after_upload", 422, "The bytes changed while they were inspected", "upload once, and as a new object";
    UploadExpired => "upload_expired", 422, "Nothing arrived before the URL expired", "request a new upload";
    // What is away.
    DatabaseUnavailable => "database_unavailable", 503, "The gateway's database is away", "try again after the time in Retry-After";
    StorageUnavailable => "storage_unavailable", 503, "The storage is away", "try again after the time in Retry-After";
    ScannerUnavailable => "scanner_unavailable", 503, "The scanner is away", "try again after the time in Retry-After";
    LimitsUnavailable => "limits_unavailable", 503, "The counters of the rate limits are away", "try again after the time in Retry-After";
    IdentityProviderUnavailable => "identity_provider_unavailable", 503, "The identity provider is away", "try again after the time in Retry-After";
    Overloaded => "overloaded", 503, "The gateway is at its limit", "try again after the time in Retry-After";
    Internal => "internal_error", 500, "Something went wrong in the gateway", "try again; if it stays, give your platform team the requestId";
}

impl Reason {
    /// The reason with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_code(&code).ok_or_else(|| serde::de::Error::custom(format!("unknown reason '{code}'")))
    }
}

/// A refusal with everything that the problem document and the audit entry need. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.code())]
pub struct Refusal {
    /// Which row of the table.
    pub reason: Reason,
    /// What was wrong, what is allowed, what to do next; written for a citizen developer.
    pub detail: String,
    /// What would be accepted.
    pub allowed: Option<Vec<String>>,
    /// The limit that was met, in the unit that the detail names.
    pub limit: Option<u64>,
    /// Seconds after which a retry makes sense.
    pub retry_after: Option<u32>,
    /// The limit or quota that was met, for example `workflow-second` or `app-bytes-day`.
    pub quota: Option<&'static str>,
    /// Before when the object may not be deleted. Boxed, as it is rare and every answer carries the room for it.
    pub retained_until: Option<Box<Timestamp>>,
    /// The rule that decided, for example `apps/where2eat.toml: types`. For the audit trail.
    pub rule: Option<Box<str>>,
}

impl Refusal {
    /// A refusal with a detail and nothing else. Details quote what clients sent, so that tokens in them are made
    /// unreadable and long ones are cut.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let detail = cut(without_tokens(&detail.into()), LONGEST_DETAIL);
        Self {
            reason,
            detail,
            allowed: None,
            limit: None,
            retry_after: None,
            quota: None,
            retained_until: None,
            rule: None,
        }
    }

    /// Adds what would be accepted.
    #[must_use]
    pub fn allowed(mut self, allowed: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.allowed = Some(allowed.into_iter().map(Into::into).collect());
        self
    }

    /// Adds the limit that was met.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Adds the seconds after which a retry makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Adds the name of the quota that was met.
    #[must_use]
    pub fn quota(mut self, name: &'static str) -> Self {
        self.quota = Some(name);
        self
    }

    /// Adds the date before which the object may not be deleted.
    #[must_use]
    pub fn retained_until(mut self, until: Option<Timestamp>) -> Self {
        self.retained_until = until.map(Box::new);
        self
    }

    /// Adds the rule that decided.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<Box<str>>) -> Self {
        self.rule = Some(rule.into());
        self
    }
}

/// Longest detail in characters; our own sentences are shorter.
const LONGEST_DETAIL: usize = 300;

fn cut(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_shows_no_token_and_is_not_long() {
        let refusal = Refusal::new(Reason::InvalidField, "size: 'vst_live_abcdefghijklmnop_secret1' is no number.");
        assert_eq!(refusal.detail, "size: 'vst_live_…' is no number.");
        let refusal = Refusal::new(Reason::InvalidField, "ä".repeat(70_000));
        assert_eq!(refusal.detail.chars().count(), LONGEST_DETAIL + 1);
    }

    #[test]
    fn codes_are_unique_and_read_back() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
        }
        let codes: std::collections::HashSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
    }

    #[test]
    fn every_status_is_an_error() {
        assert!(Reason::ALL.iter().all(|reason| (400..=599).contains(&reason.status())));
    }
}
