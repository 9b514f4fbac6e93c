//! The official AWS SDK for Python as an independent client.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use vestibule::domain::key::Area;

use super::{BUCKET, Running};
use crate::harness;

const SETUP: &str = r#"
import json, sys, hashlib, urllib.request
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
given = json.load(sys.stdin)
s3 = boto3.client("s3", endpoint_url=given["endpoint"], region_name="embedded",
    aws_access_key_id=given["key"], aws_secret_access_key=given["secret"],
    config=Config(s3={"addressing_style": "path"}, signature_version="s3v4", retries={"max_attempts": 1}))
bucket, prefix = given["bucket"], given["prefix"]
def code(call, **arguments):
    try:
        call(Bucket=bucket, **arguments)
    except ClientError as error:
        return error.response["Error"]["Code"] + " " + str(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return "allowed"
"#;

/// Runs a script with one of the store's key pairs, and returns the JSON that it prints.
async fn run(running: &Running, who: &str, prefix: &str, script: &str) -> Value {
    let keys = std::fs::read(running.dir.path().join("credentials.json")).unwrap();
    let keys: Value = serde_json::from_slice(&keys).unwrap();
    let given = json!({
        "endpoint": running.server.endpoint(), "bucket": BUCKET, "prefix": prefix,
        "key": keys[who]["access_key_id"], "secret": keys[who]["secret_access_key"],
    });
    let mut child = Command::new(harness::env("VESTIBULE_TEST_PYTHON"))
        .args(["-c", &format!("{SETUP}\n{script}")])
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).await.unwrap();
    let done = child.wait_with_output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

#[tokio::test]
async fn an_independent_reader_sees_the_same_bytes_and_cannot_write() {
    let running = Running::start().await;
    assert_eq!(running.server.reader().access_key_id.len(), 20);
    let fixture = running.fixture().await;
    let names = ["a.jpg", "b/menu of the day (é)+&.jpg".replace(['+', '&'], "_").leak() as &str, "b/c.jpg"];
    for name in names {
        fixture.put(&fixture.key(Area::Staging, name), name.as_bytes()).await;
    }
    let script = r#"
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": 2})
found = [(o["Key"][len(prefix):], o["Size"], o["ETag"]) for page in pages for o in page.get("Contents", [])]
bodies = [s3.get_object(Bucket=bucket, Key=prefix + name)["Body"].read().decode() for name, _, _ in found]
heads = [s3.head_object(Bucket=bucket, Key=prefix + name)["ETag"] for name, _, _ in found]
folded = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/")
refused = [
    code(s3.put_object, Key=prefix + "x", Body=b"x"),
    code(s3.delete_object, Key=prefix + "a.jpg"),
    code(s3.copy_object, Key=prefix + "x", CopySource={"Bucket": bucket, "Key": prefix + "a.jpg"}),
    code(s3.put_object_tagging, Key=prefix + "a.jpg", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
    code(s3.create_multipart_upload, Key=prefix + "x"),
    code(s3.delete_bucket),
    code(s3.put_bucket_policy, Policy="{}"),
]
print(json.dumps({"found": found, "bodies": bodies, "heads": heads, "refused": refused,
    "missing": code(s3.get_object, Key=prefix + "missing"),
    "folded": [[p["Prefix"][len(prefix):] for p in folded["CommonPrefixes"]], [o["Key"][len(prefix):] for o in folded["Contents"]]]}))
"#;
    let answer = run(&running, "reader", fixture.prefix.as_str(), script).await;
    let listed: Vec<&str> = answer["found"].as_array().unwrap().iter().map(|o| o[0].as_str().unwrap()).collect();
    let mut expected = names.to_vec();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    assert_eq!(answer["bodies"], json!(expected));
    for (listed, head) in answer["found"].as_array().unwrap().iter().zip(answer["heads"].as_array().unwrap()) {
        assert_eq!(&listed[2], head);
    }
    assert_eq!(answer["folded"], json!([["b/"], ["a.jpg"]]));
    assert_eq!(answer["missing"], "NoSuchKey 404");
    for refused in answer["refused"].as_array().unwrap() {
        assert_eq!(refused, "AccessDenied 403");
    }
}

#[tokio::test]
async fn the_sdk_writes_with_the_signers_keys_and_nothing_is_dropped_silently() {
    let running = Running::start().await;
    let fixture = running.fixture().await;
    let script = r#"
key = prefix + "m e\u00e9nu.jpg"
body = b"menu" * 50000
answers = {}
# By default the SDK sends a chunked body with its CRC in a trailer.
put = s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="image/jpeg", Metadata={"table": "7"}, Tagging="a=b")
answers["etag"] = put["ETag"].strip('"') == hashlib.md5(body).hexdigest()
for algorithm in ["CRC32", "SHA1", "SHA256", "CRC32C", "CRC64NVME"]:
    try:
        s3.put_object(Bucket=bucket, Key=prefix + algorithm, Body=body, ChecksumAlgorithm=algorithm)
        answers[algorithm] = "allowed"
    except Exception as error:
        answers[algorithm] = type(error).__name__
head = s3.head_object(Bucket=bucket, Key=key)
answers["head"] = [head["ContentLength"], head["ContentType"], head["Metadata"]]
s3.copy_object(Bucket=bucket, Key=prefix + "copy", CopySource={"Bucket": bucket, "Key": key}, CopySourceIfMatch=put["ETag"])
copy = s3.get_object(Bucket=bucket, Key=prefix + "copy")
answers["copy"] = [copy["Body"].read() == body, copy["ContentType"], copy["Metadata"]]
answers["tags"] = s3.get_object_tagging(Bucket=bucket, Key=prefix + "copy")["TagSet"]
answers["stale copy"] = code(s3.copy_object, Key=prefix + "copy", CopySource={"Bucket": bucket, "Key": key}, CopySourceIfMatch='"0"')
answers["create only"] = code(s3.put_object, Key=key, Body=b"x", IfNoneMatch="*")
answers["md5"] = code(s3.put_object, Key=key, Body=b"x", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
answers["sha256"] = code(s3.put_object, Key=key, Body=b"x", ChecksumSHA256="AAAA")
answers["crc32"] = code(s3.put_object, Key=key, Body=b"x", ChecksumCRC32="AAAAAA==")
answers["unkept"] = [
    code(s3.put_object, Key=key, Body=b"x", ACL="public-read"),
    code(s3.put_object, Key=key, Body=b"x", StorageClass="GLACIER"),
    code(s3.put_object, Key=key, Body=b"x", CacheControl="no-store"),
    code(s3.create_multipart_upload, Key=key),
    code(s3.get_bucket_policy),
]
url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=60)
answers["presigned"] = urllib.request.urlopen(url).read() == body
answers["nobucket"] = "NoSuchBucket" in str(code(lambda Bucket, **a: s3.list_objects_v2(Bucket="absent")))
s3.delete_object(Bucket=bucket, Key=key)
answers["deleted"] = code(s3.head_object, Key=key)
print(json.dumps(answers))
"#;
    let answer = run(&running, "signer", fixture.prefix.as_str(), script).await;
    for name in ["etag", "presigned", "nobucket"] {
        assert_eq!(answer[name], true, "{name}: {answer}");
    }
    assert_eq!(answer["head"], json!([200_000, "image/jpeg", {"table": "7"}]));
    assert_eq!(answer["copy"], json!([true, "image/jpeg", {"table": "7"}]));
    assert_eq!(answer["tags"], json!([{"Key": "a", "Value": "b"}]));
    for name in ["CRC32", "SHA1", "SHA256"] {
        assert_eq!(answer[name], "allowed", "{name}");
    }
    for name in ["stale copy", "create only"] {
        assert_eq!(answer[name], "PreconditionFailed 412", "{name}");
    }
    for name in ["md5", "sha256", "crc32"] {
        assert_eq!(answer[name], "BadDigest 400", "{name}");
    }
    for refused in answer["unkept"].as_array().unwrap() {
        assert_eq!(refused, "NotImplemented 501");
    }
    assert_eq!(answer["deleted"], "404 404");
}
