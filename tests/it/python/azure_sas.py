"""Mint SAS with Microsoft's own client, for comparison with ours.

Reads a JSON list of vectors from standard input and writes the list of their tokens to standard output. The service
version comes from the vector: the client itself would always take its newest.
"""

import json
import sys

from azure.storage.blob import UserDelegationKey
from azure.storage.blob._shared_access_signature import BlobSharedAccessSignature


def delegation(fields: dict) -> UserDelegationKey:
    key = UserDelegationKey()
    key.signed_oid = fields["objectId"]
    key.signed_tid = fields["tenantId"]
    key.signed_start = fields["startsAt"]
    key.signed_expiry = fields["expiresAt"]
    key.signed_service = "b"
    key.signed_version = fields["version"]
    key.value = fields["value"]
    return key


def token(vector: dict) -> str:
    key = vector.get("delegation")
    signer = BlobSharedAccessSignature(
        vector["account"],
        account_key=vector.get("accountKey"),
        user_delegation_key=delegation(key) if key else None,
    )
    signer.x_ms_version = vector["serviceVersion"]
    return signer.generate_blob(
        vector["container"],
        vector["blob"],
        version_id=vector.get("versionId"),
        permission=vector["permission"],
        expiry=vector["expiry"],
        protocol=vector.get("protocol"),
        content_disposition=vector.get("contentDisposition"),
        content_type=vector.get("contentType"),
        correlation_id=vector.get("correlationId"),
    )


json.dump([token(vector) for vector in json.load(sys.stdin)], sys.stdout)
