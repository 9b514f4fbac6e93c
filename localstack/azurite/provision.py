"""Create the container and the queue that the documentation names, in Azurite, idempotently.

Run by `localstack/up` with the SDK venv. Azurite keeps everything in memory, so that this runs
after every start.
"""

import argparse

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

CONTAINER = "vestibule-clinic"
QUEUE = "vestibule-clinic-events"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blob", required=True, help="blob endpoint with the account name")
    parser.add_argument("--queue", required=True, help="queue endpoint with the account name")
    parser.add_argument("--key", required=True, help="account key")
    args = parser.parse_args()

    blobs = BlobServiceClient(args.blob, credential=args.key)
    queues = QueueServiceClient(args.queue, credential=args.key)
    for create in (lambda: blobs.create_container(CONTAINER), lambda: queues.create_queue(QUEUE)):
        try:
            create()
        except ResourceExistsError:
            pass


if __name__ == "__main__":
    main()
