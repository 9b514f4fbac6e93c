"""The lines at the end that work as pasted: request an upload, PUT a small file, look at its state.

A real token is in them, on the screen only. No comments and nothing but curl, sed and printf, so that bash and zsh take
them alike.
"""

import subprocess

from client import Unexpected

FILE = "/tmp/vst-demo.csv"
CSV = "invoice,amount\\nA-1,12.50\\n"


def block(public, client):
    """The lines; None where there is no token."""
    if client is None:
        return None
    size = len(CSV.encode().decode("unicode_escape"))
    return f"""\
gw={public}; printf '{CSV}' > {FILE}
token={client.token}
answer=$(curl -sS $gw/request-upload -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \\
  -d '{{"filename":"hello.csv","size":{size},"contentType":"text/csv"}}')
field() {{ printf %s "$answer" | sed "s/.*\\"$1\\":\\"\\([^\\"]*\\)\\".*/\\1/"; }}
curl -sS -w 'PUT %{{http_code}}\\n' -T {FILE} -H 'content-type: text/csv' -H 'if-none-match: *' \\
  "$(field uploadUrl)"
sleep 2; curl -sS "$gw$(field statusUrl)" -H "Authorization: Bearer $token"; echo
"""


def run(lines):
    """Runs the lines as a reader would, and says what they printed."""
    if lines is None:
        raise Unexpected("not possible: there is no token from an earlier line")
    done = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, timeout=60)
    put, _, status = done.stdout.partition("\n")
    if put != "PUT 200" or '"state":"visible"' not in status:
        raise Unexpected(f"{done.stdout} {done.stderr}".strip()[:400])
    return "PUT 200, state visible"


def show(screen, gateway, lines):
    """Where things are, and the lines."""
    screen.say(screen.summary())
    screen.say(f"public {gateway.public} (API: /docs)   admin {gateway.admin}   storage {gateway.storage}")
    screen.say("in the data directory: gateway.log, audit.jsonl, policies/ (yours to edit), vestibule.toml, storage/")
    if lines is not None:
        screen.say("\nPaste this into a shell to upload a small CSV yourself:")
        screen.say(lines.rstrip())
