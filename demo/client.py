"""Plain HTTP, as any client would speak it: one connection per request, no proxy, no redirect followed.

Deliberately absent: an S3 library. What the story shows must work with nothing but GET, PUT and POST.
"""

import http.client
import json
import re
from urllib.parse import urlsplit

TIMEOUT = 60


class Answer:
    """A status and a body."""

    def __init__(self, status, body):
        self.status, self.body = status, body

    def json(self):
        return json.loads(self.body or b"null")

    def why(self):
        """The status, and what the other side says: the gateway's first sentence, or the storage's code and message."""
        try:
            return f"{self.status}: " + re.split(r"(?<=\.) ", self.json()["detail"])[0]
        except (ValueError, KeyError, TypeError):
            said = re.findall(r"<(?:Code|Message)>(.*?)</", self.body.decode("utf-8", "replace"), re.S)
            return f"{self.status} {': '.join(said)}".rstrip()


def send(method, url, headers=None, body=None):
    """One request, with exactly these headers (and those that HTTP itself needs)."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.read())
    finally:
        connection.close()


class Client:
    """The gateway, as the holder of one token sees it."""

    def __init__(self, base, token):
        self.base, self.token = base, token

    def get(self, path):
        return send("GET", self.base + path, self._headers())

    def delete(self, path):
        return send("DELETE", self.base + path, self._headers())

    def post(self, path, document):
        headers = {**self._headers(), "Content-Type": "application/json"}
        return send("POST", self.base + path, headers, json.dumps(document).encode())

    def request_upload(self, filename, content_type, size):
        """The answer of request-upload; raises where there is no URL."""
        wanted = {"filename": filename, "contentType": content_type, "size": size}
        answer = self.post("/request-upload", wanted)
        if answer.status != 201:
            raise Unexpected(f"request-upload: {answer.why()}")
        return answer.json()

    def request_download(self, object_id):
        return self.post("/request-download", {"objectId": object_id})

    def status(self, object_id):
        answer = self.get(f"/objects/{object_id}")
        if answer.status != 200:
            raise Unexpected(f"status: {answer.why()}")
        return answer.json()

    def _headers(self):
        return {"Authorization": f"Bearer {self.token}"}


def put(issued, body, **changes):
    """Sends a body to an upload URL with the headers that came with it; `content_length=…` replaces a signed one."""
    headers = dict(issued["headers"])
    for name, value in changes.items():
        headers[name.replace("_", "-")] = value
    return send("PUT", issued["uploadUrl"], headers, body)


class Unexpected(Exception):
    """Something went another way than it should; the text is for the reader."""
