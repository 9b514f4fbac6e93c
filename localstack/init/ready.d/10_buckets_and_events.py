"""Create the buckets, queues, topic and rule that the documentation and the examples name.

LocalStack runs this in its own process once its gateway listens; running it again changes nothing.
The three ways in which S3 announces an object each end in a queue of their own:

    vestibule-images   ObjectCreated on incoming/  → vestibule-events              (directly)
    vestibule-images   EventBridge rule            → vestibule-events-eventbridge
    vestibule-finance  ObjectCreated on incoming/  → SNS → vestibule-events-sns    (enveloped)

Deliberately absent: credentials other than LocalStack's `test`, and anything a test makes itself.
"""

import json
import os

import boto3
from botocore.config import Config

REGION = "eu-central-1"
ACCOUNT = "000000000000"
IMAGES, FINANCE = "vestibule-images", "vestibule-finance"
ORIGIN = "http://localhost:3000"

port = os.environ.get("GATEWAY_LISTEN", "127.0.0.1:4566").split(",")[0].rsplit(":", 1)[-1]


def client(service):
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(s3={"addressing_style": "path"}),
    )


s3, sqs, sns, events = (client(name) for name in ("s3", "sqs", "sns", "events"))


def bucket(name, versioned):
    try:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    except s3.exceptions.BucketAlreadyOwnedByYou:
        pass
    s3.put_public_access_block(
        Bucket=name,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    s3.put_bucket_cors(
        Bucket=name,
        CORSConfiguration={
            "CORSRules": [
                {
                    "AllowedOrigins": [ORIGIN],
                    "AllowedMethods": ["PUT", "POST", "GET", "HEAD"],
                    "AllowedHeaders": ["*"],
                    "ExposeHeaders": ["ETag", "x-amz-version-id", "x-amz-checksum-sha256"],
                    "MaxAgeSeconds": 300,
                }
            ]
        },
    )
    # A second net below Vestibule's own expiry. Held objects lie here too, and a reviewer needs time.
    s3.put_bucket_lifecycle_configuration(
        Bucket=name,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "expire-staging",
                    "Status": "Enabled",
                    "Filter": {"Prefix": "incoming/"},
                    "Expiration": {"Days": 30},
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
                },
                {
                    "ID": "abort-multipart",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
                },
            ]
        },
    )
    if versioned:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})


def queue(name, principal, source):
    """A queue into which one AWS service may write, from one source."""
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": principal},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": source}},
            }
        ],
    }
    sqs.set_queue_attributes(
        QueueUrl=url, Attributes={"Policy": json.dumps(policy), "VisibilityTimeout": "30"}
    )
    return arn


def notify(name, **destination):
    """ObjectCreated:* below incoming/, to the given destination. Replaces what was configured."""
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=destination)


STAGING = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "incoming/"}]}}
CREATED = {"Events": ["s3:ObjectCreated:*"], "Filter": STAGING}

bucket(IMAGES, versioned=False)
bucket(FINANCE, versioned=True)

topic = sns.create_topic(Name="vestibule-events")["TopicArn"]
rule = events.put_rule(
    Name="vestibule-object-created",
    EventPattern=json.dumps(
        {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {"bucket": {"name": [IMAGES]}, "object": {"key": [{"prefix": "incoming/"}]}},
        }
    ),
)["RuleArn"]

direct = queue("vestibule-events", "s3.amazonaws.com", f"arn:aws:s3:::{IMAGES}")
via_sns = queue("vestibule-events-sns", "sns.amazonaws.com", topic)
via_rule = queue("vestibule-events-eventbridge", "events.amazonaws.com", rule)

sns.set_topic_attributes(
    TopicArn=topic,
    AttributeName="Policy",
    AttributeValue=json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "s3.amazonaws.com"},
                    "Action": "sns:Publish",
                    "Resource": topic,
                    "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{FINANCE}"}},
                }
            ],
        }
    ),
)
# Not raw: the S3 record arrives inside the SNS envelope, which is what Vestibule has to unwrap.
sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=via_sns)
events.put_targets(Rule="vestibule-object-created", Targets=[{"Id": "queue", "Arn": via_rule}])

notify(
    IMAGES,
    QueueConfigurations=[{"Id": "staged", "QueueArn": direct, **CREATED}],
    EventBridgeConfiguration={},
)
notify(FINANCE, TopicConfigurations=[{"Id": "staged", "TopicArn": topic, **CREATED}])
