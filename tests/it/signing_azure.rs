//! Our SAS against those of Microsoft's Python client, vector by vector.
//!
//! Both sign the same fields; the tokens must have the same parameters and the same signature. Every vector goes through
//! one run of `python/azure_sas.py`.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::storage::azure::sas::{DelegationKey, Place, Sas, SasKey, VERSION};

use crate::harness;

const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const BLOBS: [&str; 14] = [
    "menu.jpg",
    "incoming/uploads/u-42/obj_00000000000000000000000000000007/menu.jpg",
    "menu of the day (1), final.jpg",
    "Übergröße/菜单 e\u{301}.jpg",
    "a=b@c,d_e-f.g.h~i.jpg",
    "100% +plus&and?what#hash.txt",
    "quote'and\"quote",
    "back\\slash",
    "...dots",
    "trailing.dot.",
    "semi;colon:colon!star*",
    "[brackets]{braces}|pipe^caret`tick",
    "$root-like/.hidden",
    "🎉/😀.png",
];

const OVERRIDES: [Option<(&str, &str)>; 4] = [
    None,
    Some(("attachment; filename=\"menu.jpg\"; filename*=UTF-8''menu.jpg", "image/jpeg")),
    Some(("inline; filename=\"_ _.svg\"; filename*=UTF-8''%E8%8F%9C%20%C3%A9.svg", "image/svg+xml")),
    Some(("attachment; filename=\"100% & more; a=b+c.csv\"", "text/csv")),
];

const VERSIONS: [Option<&str>; 2] = [None, Some("2026-11-21T19:00:00.1234567Z")];

struct Vector {
    delegated: bool,
    sas: Sas<'static>,
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn delegation_key() -> DelegationKey {
    DelegationKey {
        object_id: "11059fcc-5514-4800-b5f8-49808b9cfab6".into(),
        tenant_id: "ab1f708d-50f6-404c-a006-d71b2ac7a606".into(),
        starts_at: at("2026-11-21T19:55:00Z"),
        expires_at: at("2026-11-22T02:00:00Z"),
        service: "b".into(),
        version: VERSION.into(),
        value: "aGFyZCB0byBndWVzcyBhbmQgZWFzeSB0byByZWFkIQ==".into(),
    }
}

fn vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (number, blob) in (1u128..).zip(BLOBS) {
        for overrides in OVERRIDES {
            for version in VERSIONS {
                for https_only in [true, false] {
                    for (delegated, correlated) in [(false, false), (true, false), (true, true)] {
                        let sas = Sas {
                            permissions: if overrides.is_some() { "r" } else { "c" },
                            blob,
                            expires_at: at("2026-11-21T20:15:59.9Z"),
                            https_only,
                            correlation: correlated.then(|| Uuid::from_u128(number << 64 | 0x70)),
                            version,
                            content_disposition: overrides.map(|(disposition, _)| disposition),
                            content_type: overrides.map(|(_, content_type)| content_type),
                        };
                        vectors.push(Vector { delegated, sas });
                    }
                }
            }
        }
    }
    vectors
}

fn asked(vector: &Vector) -> Value {
    let sas = &vector.sas;
    let key = delegation_key();
    json!({
        "account": ACCOUNT,
        "accountKey": (!vector.delegated).then_some(KEY),
        "delegation": vector.delegated.then(|| json!({
            "objectId": key.object_id,
            "tenantId": key.tenant_id,
            "startsAt": key.starts_at.to_string(),
            "expiresAt": key.expires_at.to_string(),
            "version": key.version,
            "value": "aGFyZCB0byBndWVzcyBhbmQgZWFzeSB0byByZWFkIQ==",
        })),
        "serviceVersion": VERSION,
        "container": "uploads",
        "blob": sas.blob,
        "versionId": sas.version,
        "permission": sas.permissions,
        "expiry": "2026-11-21T20:15:59Z",
        "protocol": sas.https_only.then_some("https"),
        "contentDisposition": sas.content_disposition,
        "contentType": sas.content_type,
        "correlationId": sas.correlation.map(|id| id.to_string()),
    })
}

/// Runs a script of `tests/it/python/` with `input` on its standard input, and reads its answer.
pub fn python(script: &str, input: &Value) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python").join(script);
    let mut child = Command::new(harness::env("VESTIBULE_TEST_PYTHON"))
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter of VESTIBULE_TEST_PYTHON; run localstack/up first");
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script} failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.into(), decode(value))).collect()
}

#[test]
fn every_sas_equals_that_of_microsofts_client() {
    let vectors = vectors();
    assert!(vectors.len() > 600, "{}", vectors.len());
    let tokens = python("azure_sas.py", &vectors.iter().map(asked).collect());
    let tokens = tokens.as_array().unwrap();
    assert_eq!(tokens.len(), vectors.len());
    let place = Place::new("https://devstoreaccount1.blob.core.windows.net", ACCOUNT, "uploads");
    let account = SasKey::account(&KEY.into()).unwrap();
    let delegated = SasKey::delegation(&delegation_key()).unwrap();
    for (vector, token) in vectors.iter().zip(tokens) {
        let key = if vector.delegated { &delegated } else { &account };
        let url = key.sign(&place, &vector.sas);
        let (path, query) = url.split_once('?').unwrap();
        let name = path.strip_prefix("https://devstoreaccount1.blob.core.windows.net/uploads/").unwrap();
        assert_eq!(percent_encoding::percent_decode_str(name).decode_utf8().unwrap(), vector.sas.blob);
        let mut ours = parameters(query);
        // The client leaves this one to the caller; it is signed all the same.
        assert_eq!(ours.remove("versionid").as_deref(), vector.sas.version);
        assert_eq!(ours, parameters(token.as_str().unwrap()), "{:?}", vector.sas);
    }
}
