"""Read one blob with Microsoft's own client, as an independent reader.

Takes a JSON object from standard input (endpoint, key, container, blob) and writes what it finds to standard output.
"""

import hashlib
import json
import sys

from azure.storage.blob import BlobServiceClient

asked = json.load(sys.stdin)
service = BlobServiceClient(asked["endpoint"], credential=asked["key"])
blob = service.get_blob_client(asked["container"], asked["blob"])
properties = blob.get_blob_properties()
settings = properties.content_settings
json.dump(
    {
        "sha256": hashlib.sha256(blob.download_blob().readall()).hexdigest(),
        "size": properties.size,
        "contentType": settings.content_type,
        "contentEncoding": settings.content_encoding,
        "cacheControl": settings.cache_control,
        "contentDisposition": settings.content_disposition,
        "metadata": properties.metadata,
        "tags": blob.get_blob_tags(),
    },
    sys.stdout,
)
