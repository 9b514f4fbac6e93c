"""A stand-in for Azure Event Grid, for tests and demonstrations only.

Azurite emits no events. This polls one container and puts a Microsoft.Storage.BlobCreated message
on a storage queue for each blob under a prefix that is new or has a new ETag, in the shape in
which Event Grid delivers to a queue: one event per message, base64 by default.

What it does not imitate: it sees a blob only at the next poll, misses one that was overwritten
twice in between, always says PutBlob, and after a restart announces everything again. Event Grid
too delivers late, more than once and out of order, so that no consumer may rely on more than this.
"""

import argparse
import base64
import json
import signal
import sys
import time
import urllib.parse
import uuid
from datetime import datetime, timezone

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"


def topic(account: str) -> str:
    """The resource id that Event Grid names as the source."""
    return (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/vestibule-test"
        f"/providers/Microsoft.Storage/storageAccounts/{account}"
    )


def describe(blob, url: str, sequence: int) -> dict:
    """The `data` member, the same in both schemas."""
    blob_type = getattr(blob.blob_type, "value", blob.blob_type) or "BlockBlob"
    return {
        "api": "PutBlob",
        "clientRequestId": str(uuid.uuid4()),
        "requestId": str(uuid.uuid4()),
        "eTag": blob.etag.strip('"'),
        "contentType": blob.content_settings.content_type or "application/octet-stream",
        "contentLength": blob.size,
        "blobType": blob_type,
        "accessTier": "Default",
        "url": f"{url}/{urllib.parse.quote(blob.name)}",
        "sequencer": f"{sequence:048x}",
        "storageDiagnostics": {"batchId": str(uuid.uuid4())},
    }


def event_grid(container: ContainerClient, blob, sequence: int) -> dict:
    """Event Grid's own schema, one event object."""
    return {
        "topic": topic(container.account_name),
        "subject": f"/blobServices/default/containers/{container.container_name}/blobs/{blob.name}",
        "eventType": "Microsoft.Storage.BlobCreated",
        "id": str(uuid.uuid4()),
        "data": describe(blob, container.url, sequence),
        "dataVersion": "",
        "metadataVersion": "1",
        "eventTime": blob.last_modified.astimezone(timezone.utc).isoformat().replace("+00:00", "Z"),
    }


def cloud_event(container: ContainerClient, blob, sequence: int) -> dict:
    """The same in the CloudEvents 1.0 schema."""
    event = event_grid(container, blob, sequence)
    return {
        "specversion": "1.0",
        "id": event["id"],
        "source": event["topic"],
        "subject": event["subject"],
        "type": event["eventType"],
        "time": event["eventTime"],
        "data": event["data"],
    }


def poll(container, queue, seen: dict, args) -> int:
    """One pass; returns how many messages were sent. `seen` maps a name to its announced ETag."""
    sent, present = 0, set()
    for blob in container.list_blobs(name_starts_with=args.prefix, include=["metadata"]):
        present.add(blob.name)
        if seen.get(blob.name) == blob.etag:
            continue
        build = cloud_event if args.cloudevents else event_grid
        text = json.dumps(build(container, blob, time.time_ns()), separators=(",", ":"))
        queue.send_message(text if args.plain else base64.b64encode(text.encode()).decode())
        seen[blob.name] = blob.etag
        sent += 1
        print(f"sent BlobCreated for {blob.name} ({blob.size} bytes)", flush=True)
    for gone in set(seen) - present:
        del seen[gone]
    return sent


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--account-url", required=True, help="blob endpoint with the account name")
    parser.add_argument("--queue-url", required=True, help="queue endpoint with the account name")
    parser.add_argument("--key", required=True, help="account key")
    parser.add_argument("--container", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--prefix", default="incoming/", help="announce blobs below this (incoming/)")
    parser.add_argument("--interval", type=float, default=0.5, help="seconds between polls (0.5)")
    parser.add_argument("--plain", action="store_true", help="JSON text instead of base64")
    parser.add_argument("--cloudevents", action="store_true", help="CloudEvents 1.0 schema")
    parser.add_argument("--once", action="store_true", help="announce what is there now, and end")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    container = ContainerClient(args.account_url, args.container, credential=args.key)
    queue = QueueClient(args.queue_url, args.queue, credential=args.key)
    print("stand-in for Azure Event Grid: Azurite emits no events of its own", flush=True)
    seen: dict = {}
    if args.once:
        print(f"sent {poll(container, queue, seen, args)} messages")
        return 0
    print(f"watching {args.container}/{args.prefix} every {args.interval} s for {args.queue}", flush=True)
    complaint = None
    while True:
        try:
            poll(container, queue, seen, args)
            complaint = None
        except (AzureError, ResourceNotFoundError) as error:
            # Azurite restarts and tests delete containers: say it once, keep watching.
            summary = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            if summary != complaint:
                now = datetime.now(timezone.utc).isoformat(timespec="seconds")
                print(f"{now} cannot poll yet: {summary}", file=sys.stderr, flush=True)
                complaint = summary
        time.sleep(args.interval)


if __name__ == "__main__":
    sys.exit(main())
