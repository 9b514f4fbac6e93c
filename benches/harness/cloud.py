"""LocalStack as a benchmark needs it: a bucket whose uploads a queue hears of, both of the benchmark's own.

Plain HTTP: LocalStack does not look at who asks.
"""

import os
import urllib.parse
import urllib.request

from .turns import at_once

REGION = "eu-central-1"


class Localstack:
    """One bucket and one queue."""

    def __init__(self, env):
        self.endpoint = env["VESTIBULE_TEST_S3_ENDPOINT"]
        self.bucket = self.queue = f"vestibule-pipeline-{os.getpid()}"
        constraint = f"<LocationConstraint>{REGION}</LocationConstraint>"
        self.call("PUT", "", f"<CreateBucketConfiguration>{constraint}</CreateBucketConfiguration>")
        answer = self.sqs("CreateQueue", QueueName=self.queue)
        self.queue_url = answer.split("<QueueUrl>")[1].split("<")[0]
        rule = "<FilterRule><Name>prefix</Name><Value>incoming/</Value></FilterRule>"
        self.call("PUT", "?notification", (
            "<NotificationConfiguration><QueueConfiguration><Id>pipeline</Id>"
            f"<Queue>arn:aws:sqs:{REGION}:000000000000:{self.queue}</Queue><Event>s3:ObjectCreated:*</Event>"
            f"<Filter><S3Key>{rule}</S3Key></Filter></QueueConfiguration></NotificationConfiguration>"))

    def signed(self, service):
        scope = f"test/20260101/{REGION}/{service}/aws4_request"
        return {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}

    def call(self, method, path, body=None):
        url = f"{self.endpoint}/{self.bucket}{path}"
        data = body.encode() if isinstance(body, str) else body
        headers = {**self.signed("s3"), "Content-Type": "application/xml"}
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def sqs(self, action, **fields):
        form = urllib.parse.urlencode({"Action": action, "Version": "2012-11-05", **fields}).encode()
        headers = {**self.signed("sqs"), "Content-Type": "application/x-www-form-urlencoded"}
        with urllib.request.urlopen(urllib.request.Request(self.endpoint, form, headers)) as answer:
            return answer.read().decode()

    def alone(self, files, clients):
        """PUT and GET of the same files without the gateway; seconds each."""
        host = urllib.parse.urlsplit(self.endpoint).netloc

        def put(line, file):
            line.request("PUT", f"/{self.bucket}/alone/{file.name}", file.read_bytes(), self.signed("s3"))
            return line.getresponse()

        def get(line, file):
            line.request("GET", f"/{self.bucket}/alone/{file.name}", headers=self.signed("s3"))
            return line.getresponse()

        return [at_once(host, files, clients, send) for send in (put, get)]

    def empty(self):
        while True:
            page = self.call("GET", "?list-type=2").decode()
            keys = [part.split("</Key>")[0] for part in page.split("<Key>")[1:]]
            if not keys:
                return
            entries = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
            self.call("POST", "?delete", f"<Delete><Quiet>true</Quiet>{entries}</Delete>")

    def remove(self):
        self.empty()
        self.call("DELETE", "")
        self.sqs("DeleteQueue", QueueUrl=self.queue_url)
