//! POST policies against botocore: the same fields, the same conditions, the same signature over our document.
//!
//! botocore writes the same document with other spaces, so that its policy and signature differ as text. Therefore two
//! comparisons: its own form for the same wishes, field by field, and its signature over the bytes of our document.

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use serde_json::{Value, json};
use vestibule::domain::grant::UploadMethod;

use super::{base64_of, generator};
use crate::harness;

/// Reads cases from standard input, answers with botocore's form and its signature of our policy.
const SCRIPT: &str = r#"
import base64, datetime, json, sys
import boto3, botocore.auth, botocore.signers
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

answers = []
for case in json.load(sys.stdin):
    now = datetime.datetime.strptime(case["date"], "%Y%m%dT%H%M%SZ")
    botocore.auth.get_current_datetime = botocore.signers.get_current_datetime = lambda **_: now
    client = boto3.client(
        "s3", region_name=case["region"], endpoint_url=case["endpoint"],
        aws_access_key_id=case["id"], aws_secret_access_key=case["secret"], aws_session_token=case["token"],
        config=Config(signature_version="s3v4", s3={
            "addressing_style": case["style"], "us_east_1_regional_endpoint": "regional"}))
    form = client.generate_presigned_post(
        case["bucket"], case["key"], Fields=dict(case["fields"]), Conditions=case["conditions"], ExpiresIn=case["ttl"])
    request = AWSRequest(method="POST", url=form["url"])
    request.context["timestamp"] = case["date"]
    credentials = Credentials(case["id"], case["secret"], case["token"])
    signer = botocore.auth.S3SigV4PostAuth(credentials, "s3", case["region"])
    answers.append({
        "url": form["url"],
        "document": json.loads(base64.b64decode(form["fields"].pop("policy"))),
        "own_signature": form["fields"].pop("x-amz-signature"),
        "fields": form["fields"],
        "signature": signer.signature(case["policy"], request)})
json.dump(answers, sys.stdout)
"#;

fn botocore(cases: &Value) -> Vec<Value> {
    let mut python = Command::new(harness::env("VESTIBULE_TEST_PYTHON"))
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(cases.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "the script failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn forms_equal_those_of_botocore() {
    let cases = generator::cases(9, 36);
    let mut asked = Vec::new();
    let mut ours = Vec::new();
    for case in &cases {
        let mut grant = case.upload();
        grant.method = UploadMethod::Post;
        let minted = case.presigner().mint_upload(&grant).unwrap();
        assert!(minted.headers.is_empty());
        assert_eq!(minted.expires_at, case.ends_at());
        let mut fields: serde_json::Map<String, Value> =
            minted.fields.unwrap().0.into_iter().map(|(name, value)| (name, value.into())).collect();
        let policy = fields.remove("policy").unwrap();
        let signature = fields.remove("x-amz-signature").unwrap();

        let mut wished =
            vec![json!(["Content-Type", grant.content_type.as_str()]), json!(["x-grant-id", grant.id.to_string()])];
        if let Some(digest) = &grant.sha256 {
            wished.push(json!(["x-amz-checksum-algorithm", "SHA256"]));
            wished.push(json!(["x-amz-checksum-sha256", base64_of(digest)]));
        }
        let mut conditions = vec![json!(["content-length-range", grant.size, grant.size])];
        conditions.extend(wished.iter().map(|pair| json!({ pair[0].as_str().unwrap(): pair[1] })));
        let style = if case.path_style || case.bucket.contains('.') { "path" } else { "virtual" };
        asked.push(json!({
            "date": fields["x-amz-date"], "region": case.region, "bucket": case.bucket, "key": grant.key.path(),
            "endpoint": case.endpoint.as_ref().map(|endpoint| endpoint.as_str().trim_end_matches('/')),
            "style": style,
            "id": case.access_key_id, "secret": case.secret, "token": case.token, "ttl": case.ttl,
            "fields": wished, "conditions": conditions, "policy": policy,
        }));
        ours.push((minted.url.into_exposed(), fields, policy, signature));
    }
    for ((case, theirs), (url, fields, policy, signature)) in cases.iter().zip(botocore(&json!(asked))).zip(ours) {
        let expected = case.form_address();
        assert_eq!(url.trim_end_matches('/'), expected, "{case:?}");
        assert_eq!(Value::Object(fields), theirs["fields"], "{case:?}");
        assert_eq!(signature, theirs["signature"], "{case:?}");
        let document = base64::engine::general_purpose::STANDARD.decode(policy.as_str().unwrap()).unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(document["expiration"], theirs["document"]["expiration"], "{case:?}");
        assert_eq!(sorted(&document["conditions"]), sorted(&theirs["document"]["conditions"]), "{case:?}");
        // Given an endpoint, botocore neither drops the scheme's own port nor minds that digits have no subdomains.
        if case.endpoint.is_none() {
            assert_eq!(url, theirs["url"].as_str().unwrap(), "{case:?}");
        }
    }
}

fn sorted(conditions: &Value) -> Vec<String> {
    let mut conditions: Vec<_> = conditions.as_array().unwrap().iter().map(Value::to_string).collect();
    conditions.sort();
    conditions
}
