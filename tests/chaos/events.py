"""The bucket and the queue of one run on LocalStack, and a messenger who loses, doubles and invents events."""

import json

import boto3
from botocore.config import Config

REGION = "eu-central-1"


def client(service, endpoint):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(
            s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=20, retries={"max_attempts": 3}
        ),
    )


class Storage:
    """Reached directly, not through the proxy that is cut."""

    def __init__(self, endpoint):
        self.s3, self.sqs = client("s3", endpoint), client("sqs", endpoint)

    def make(self, name, with_events, versioned):
        """A bucket, and a queue that it tells; the queue's address, or None."""
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        if versioned:
            self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        if not with_events:
            return None
        url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        staged = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "incoming/"}]}}
        self.s3.put_bucket_notification_configuration(
            Bucket=name,
            NotificationConfiguration={
                "QueueConfigurations": [
                    {"Id": "staged", "QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": staged}
                ]
            },
        )
        return url

    def keys(self, bucket):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def read(self, bucket, key):
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def remove(self, bucket, queue):
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            found = page.get("Versions", []) + page.get("DeleteMarkers", [])
            some = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
            if some:
                self.s3.delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True})
        self.s3.delete_bucket(Bucket=bucket)
        if queue:
            self.sqs.delete_queue(QueueUrl=queue)


class Messenger:
    """What may happen to events on their way: one step of each."""

    def __init__(self, sqs, queue):
        self.sqs, self.queue = sqs, queue

    def purge(self):
        """All messages that wait are lost."""
        self.sqs.purge_queue(QueueUrl=self.queue)

    def steal(self):
        """Some messages never come."""
        for message in self._take():
            self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])

    def double(self):
        """Some messages come again, and later once more."""
        for message in self._take():
            for delay in (0, 2):
                self.sqs.send_message(QueueUrl=self.queue, MessageBody=message["Body"], DelaySeconds=delay)

    def garble(self, bucket):
        """Messages that no storage ever sent: unreadable ones, and one about an object that does not exist."""
        invented = {"s3": {"bucket": {"name": bucket}, "object": {"key": "incoming/roomy/obj_0/none.jpg"}}}
        record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", **invented}
        for body in ("", "not JSON", "{}", "[1]", json.dumps({"Records": [record, {"eventName": 7}]})):
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=body or " ")

    def _take(self):
        answer = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=5, VisibilityTimeout=3)
        return answer.get("Messages", [])
