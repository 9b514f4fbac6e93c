"""Plain HTTP as any client would speak it: one connection for each request, no library that knows the gateway.

No answer, half an answer and a connection that breaks are all the same here: `None`. What the client may conclude from
that is nothing.
"""

import http.client
import json
import re
import socket
from urllib.parse import parse_qs, urlsplit

TIMEOUT = 12


class Answer:
    """A whole answer."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    def code(self):
        """The gateway's code of a refusal, or the storage's."""
        found = self.json()
        if isinstance(found, dict) and "code" in found:
            return found["code"]
        said = re.search(rb"<Code>(\w+)</Code>", self.body)
        return said[1].decode() if said else ""


def send(method, url, headers=None, body=None, timeout=TIMEOUT):
    """One request; `None` where there was no whole answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def send_and_leave(method, url, headers, body, read=0):
    """Sends (a part of) a request and is gone before the answer: a client whose program ended."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = "".join(f"{name}: {value}\r\n" for name, value in {"host": parts.netloc, **headers}.items())
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT) as connection:
            connection.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            if read:
                connection.recv(read)
    except OSError:
        pass  # It did not mean to stay.


def grant_in(url):
    """The grant that a URL names, in its signed query."""
    return parse_qs(urlsplit(url).query).get("x-grant-id", [None])[0]
