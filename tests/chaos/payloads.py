"""What clients upload: files that are clean, infected or not what they say, each different from every other.

The EICAR text is put together here, so that no file of the project is one.
"""

from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
CLEAN = {
    "menu.jpg": "image/jpeg",
    "menu.png": "image/png",
    "invoice.pdf": "application/pdf",
    "invoices.csv": "text/csv",
}


def eicar():
    return b"".join((rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$", b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE", b"!$H+H*"))


def clean(chance, number):
    """Name, content type and bytes of a file of one of the allowed kinds; now and then a large one."""
    name = chance.choice(sorted(CLEAN))
    body = (FIXTURES / name).read_bytes()
    if CLEAN[name] == "text/csv":
        heading, rows = body.split(b"\n", 1)
        repeats = chance.choice((1, 1, 1, 20))
        body = heading + b"\n" + rows * repeats + b"%d,2026-11-10,Ferry Coffee,431.79,19,513.83,open\n" % number
    else:
        body += b"\n%%%d\n" % number
    return name, CLEAN[name], body


def infected(_chance, number):
    return "menu.jpg", "image/jpeg", eicar() + b"\n%d" % number


def mistyped(_chance, number):
    """A web page in the name of a picture."""
    return "menu.png", "image/png", (FIXTURES / "page.html").read_bytes() + b"<!-- %d -->" % number


def altered(body):
    """Other bytes of the same length."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
