"""What one would write with FastAPI: a record in SQLite, committed before the answer, and a URL by boto3.

No token, no policy, no quota, no audit trail. Prints where it listens.
"""

import os
import socket
import sqlite3
import uuid
from datetime import datetime, timedelta, timezone

import boto3
import uvicorn
from botocore.config import Config
from fastapi import FastAPI
from pydantic import BaseModel

database = sqlite3.connect(f"{os.environ['DATA']}/fastapi.db", check_same_thread=False, isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("PRAGMA synchronous = FULL")
database.execute("CREATE TABLE uploads (id TEXT PRIMARY KEY, key TEXT NOT NULL, size INTEGER, type TEXT, created TEXT)")
s3 = boto3.client(
    "s3", region_name="eu-central-1", aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
    aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", config=Config(signature_version="s3v4"),
)
app = FastAPI()


class Upload(BaseModel):
    filename: str
    size: int
    contentType: str


# Not `async`, as FastAPI advises for blocking calls, would hop to a thread; on one core this is the quicker way.
@app.post("/request-upload", status_code=201)
async def request_upload(upload: Upload):
    id = f"obj_{uuid.uuid4()}"
    key = f"incoming/{id}/{upload.filename}"
    wanted = {
        "Bucket": "vestibule-images", "Key": key, "ContentLength": upload.size, "ContentType": upload.contentType,
        "IfNoneMatch": "*",
    }
    url = s3.generate_presigned_url("put_object", Params=wanted, ExpiresIn=600)
    now = datetime.now(timezone.utc)
    database.execute(
        "INSERT INTO uploads VALUES (?, ?, ?, ?, ?)", (id, key, upload.size, upload.contentType, now.isoformat())
    )
    return {
        "objectId": id, "uploadUrl": url, "method": "PUT",
        "headers": {"content-length": str(upload.size), "content-type": upload.contentType, "if-none-match": "*"},
        "expiresAt": (now + timedelta(seconds=600)).isoformat(), "statusUrl": f"/objects/{id}",
    }


listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
print("127.0.0.1:%d" % listener.getsockname()[1], flush=True)
uvicorn.run(app, fd=listener.fileno(), log_level="warning", access_log=False)
