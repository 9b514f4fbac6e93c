"""Read a whole bucket or container with the provider's own client, as an independent reader.

Takes a JSON object from standard input (provider, endpoint, place; key for Azure) and writes to standard output what
lies under each key: bytes as a digest, type, metadata and tags.
"""

import hashlib
import json
import sys


def s3(asked: dict) -> dict:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=asked["endpoint"],
        region_name=asked["region"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(s3={"addressing_style": "path"}),
    )
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=asked["place"]):
        for entry in page.get("Contents", []):
            where = {"Bucket": asked["place"], "Key": entry["Key"]}
            answer = client.get_object(**where)
            body = answer["Body"].read()
            tags = client.get_object_tagging(**where)["TagSet"]
            found[entry["Key"]] = {
                "sha256": hashlib.sha256(body).hexdigest(),
                "size": len(body),
                "contentType": answer["ContentType"],
                "metadata": answer["Metadata"],
                "tags": {tag["Key"]: tag["Value"] for tag in tags},
            }
    return found


def azure(asked: dict) -> dict:
    from azure.storage.blob import BlobServiceClient

    container = BlobServiceClient(asked["endpoint"], credential=asked["key"]).get_container_client(asked["place"])
    found = {}
    for name in container.list_blob_names():
        blob = container.get_blob_client(name)
        properties = blob.get_blob_properties()
        body = blob.download_blob().readall()
        found[name] = {
            "sha256": hashlib.sha256(body).hexdigest(),
            "size": len(body),
            "contentType": properties.content_settings.content_type,
            "metadata": {key.replace("_", "-"): value for key, value in properties.metadata.items()},
            "tags": blob.get_blob_tags(),
        }
    return found


question = json.load(sys.stdin)
json.dump({"s3": s3, "azure": azure}[question["provider"]](question), sys.stdout)
