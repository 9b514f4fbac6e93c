"""Ask every component, end to end, whether it does what the tests rely on.

    set -a; . localstack/.state/env; set +a; "$VESTIBULE_TEST_PYTHON" localstack/check.py

One line per check, exit status 1 when one failed. It makes things of its own, below names that
start with `incoming/check-`, receives their messages only, and removes them again.
Deliberately absent: anything of Vestibule itself. This judges the environment, not the gateway.
"""

import base64
import json
import os
import socket
import struct
import sys
import time
import urllib.error
import urllib.request
import uuid
from datetime import datetime, timedelta, timezone

import boto3
from azure.core.credentials import AccessToken
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas
from azure.storage.queue import QueueClient
from botocore.config import Config

ENV = os.environ
RUN = uuid.uuid4().hex[:8]
# In pieces: no file of this repository holds the EICAR text.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" b"EICAR-STANDARD-" + b"ANTIVIRUS-TEST-" + b"FILE!$H+H*"
HARMLESS = b"vestibule harmless test malware\n"


def aws(service, secret="test"):
    return boto3.client(
        service,
        endpoint_url=ENV["VESTIBULE_TEST_S3_ENDPOINT"],
        region_name=ENV["VESTIBULE_TEST_S3_REGION"],
        aws_access_key_id="test",
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}, signature_version="s3v4" if service == "s3" else None),
    )


def receive_sqs(url, needle, seconds=15):
    """The first message that mentions `needle`. Others are handed back at once."""
    sqs, end = aws("sqs"), time.monotonic() + seconds
    while time.monotonic() < end:
        for message in sqs.receive_message(
            QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=10, VisibilityTimeout=2
        ).get("Messages", []):
            if needle in message["Body"]:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                return json.loads(message["Body"])
    raise AssertionError(f"no message about {needle} within {seconds} s")


def s3_events(bucket, queue):
    key = f"incoming/check-{RUN}-{queue.lower()}.txt"
    s3 = aws("s3")
    s3.put_object(Bucket=bucket, Key=key, Body=b"check")
    try:
        return receive_sqs(ENV[f"VESTIBULE_TEST_SQS_QUEUE_{queue}"], key)
    finally:
        s3.delete_object(Bucket=bucket, Key=key)


def check_sqs_direct():
    body = s3_events("vestibule-images", "DIRECT")
    assert body["Records"][0]["eventName"].startswith("ObjectCreated"), body


def check_sqs_through_sns():
    body = s3_events("vestibule-finance", "SNS")
    assert body["Type"] == "Notification" and "Records" in json.loads(body["Message"]), body


def check_sqs_through_eventbridge():
    body = s3_events("vestibule-images", "EVENTBRIDGE")
    assert body["detail-type"] == "Object Created", body


def check_s3_refuses_a_bad_signature():
    params = {"Bucket": "vestibule-images", "Key": f"incoming/check-{RUN}.txt"}
    url = aws("s3", secret="wrong").generate_presigned_url("put_object", Params=params)
    try:
        urllib.request.urlopen(urllib.request.Request(url, data=b"x", method="PUT"), timeout=10)
    except urllib.error.HTTPError as refusal:
        assert refusal.code == 403, refusal.code
    else:
        raise AssertionError("a URL signed with a wrong secret was accepted")


def check_s3_bucket_configuration():
    s3 = aws("s3")
    for name in ("vestibule-images", "vestibule-finance"):
        assert s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]["BlockPublicPolicy"]
        assert s3.get_bucket_cors(Bucket=name)["CORSRules"][0]["AllowedOrigins"] == ["http://localhost:3000"]
        assert len(s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]) == 2
    assert "Status" not in s3.get_bucket_versioning(Bucket="vestibule-images")
    assert s3.get_bucket_versioning(Bucket="vestibule-finance")["Status"] == "Enabled"


def check_azurite_emitter():
    name = f"incoming/check-{RUN}.txt"
    account = BlobServiceClient(ENV["VESTIBULE_TEST_AZURITE_BLOB"], credential=ENV["VESTIBULE_TEST_AZURITE_KEY"])
    queue = QueueClient(
        ENV["VESTIBULE_TEST_AZURITE_QUEUE"], "vestibule-clinic-events", credential=ENV["VESTIBULE_TEST_AZURITE_KEY"]
    )
    blob = account.get_blob_client("vestibule-clinic", name)
    blob.upload_blob(b"check")
    try:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            for message in queue.receive_messages(max_messages=32, visibility_timeout=2):
                event = json.loads(base64.b64decode(message.content))
                if name in event["subject"]:
                    assert event["eventType"] == "Microsoft.Storage.BlobCreated", event
                    queue.delete_message(message)
                    return
            time.sleep(0.3)
        raise AssertionError("no message within 10 s")
    finally:
        blob.delete_blob()


class FakeCredential:
    """A bearer token that `--oauth basic` accepts: right claims, no signature that anyone checks."""

    def get_token(self, *scopes, **_):
        now = int(time.time())
        claims = {
            "aud": "https://storage.azure.com",
            "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000001/",
            "iat": now - 60,
            "nbf": now - 60,
            "exp": now + 3600,
            "oid": "00000000-0000-0000-0000-000000000002",
            "tid": "00000000-0000-0000-0000-000000000001",
            "ver": "1.0",
        }
        parts = ({"alg": "RS256", "typ": "JWT"}, claims, "not a signature")
        token = ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
        return AccessToken(token, now + 3600)


def check_azurite_user_delegation_sas():
    endpoint, ca = ENV["VESTIBULE_TEST_AZURITE_OAUTH_BLOB"], ENV["VESTIBULE_TEST_AZURITE_CA"]
    account = BlobServiceClient(endpoint, credential=FakeCredential(), connection_verify=ca)
    container = f"check-{RUN}"
    account.create_container(container)
    try:
        start, expiry = datetime.now(timezone.utc) - timedelta(minutes=5), datetime.now(timezone.utc) + timedelta(hours=1)
        sas = generate_container_sas(
            ENV["VESTIBULE_TEST_AZURITE_ACCOUNT"],
            container,
            user_delegation_key=account.get_user_delegation_key(start, expiry),
            permission=ContainerSasPermissions(read=True, create=True, write=True),
            expiry=expiry,
        )
        BlobServiceClient(endpoint, credential=sas, connection_verify=ca).get_blob_client(container, "a").upload_blob(b"x")
    finally:
        account.delete_container(container)


def instream(address, data):
    """clamd's INSTREAM: chunks with a length before them, an empty one at the end."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as clamd:
        clamd.settimeout(20)
        clamd.connect(address)
        clamd.sendall(b"zINSTREAM\0" + struct.pack("!I", len(data)) + data + struct.pack("!I", 0))
        return clamd.recv(4096).rstrip(b"\0").decode()


def check_clamd():
    host, port = ENV["VESTIBULE_TEST_CLAMD_TCP"].rsplit(":", 1)
    for address in ((host, int(port)), ENV["VESTIBULE_TEST_CLAMD_SOCKET"]):
        assert instream(address, b"hello") == "stream: OK"
        for infected in (EICAR, b"before " + EICAR + b" after", HARMLESS):
            answer = instream(address, infected)
            assert answer.startswith("stream: ") and answer.endswith(" FOUND"), answer


CHECKS = {
    "VESTIBULE_TEST_CLAMD_TCP": [check_clamd],
    "VESTIBULE_TEST_S3_ENDPOINT": [
        check_s3_bucket_configuration,
        check_s3_refuses_a_bad_signature,
        check_sqs_direct,
        check_sqs_through_sns,
        check_sqs_through_eventbridge,
    ],
    "VESTIBULE_TEST_AZURITE_BLOB": [check_azurite_emitter],
    "VESTIBULE_TEST_AZURITE_OAUTH_BLOB": [check_azurite_user_delegation_sas],
}


def main():
    failed = False
    for variable, checks in CHECKS.items():
        if variable not in ENV:
            print(f"not run: {variable} is not set ({', '.join(c.__name__ for c in checks)})")
            failed = True
            continue
        for check in checks:
            begun = time.monotonic()
            try:
                check()
                print(f"ok      {check.__name__}  {time.monotonic() - begun:.1f} s")
            except Exception as error:  # every check reports, whatever went wrong
                failed = True
                print(f"FAILED  {check.__name__}: {type(error).__name__}: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
