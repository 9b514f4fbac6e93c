"""A disk of its own for an SQLite node, small enough to be filled: a tmpfs, which answers ENOSPC like any full disk.

Mounting one takes root. Elsewhere the largest size of a file is limited for the process instead; its writes fail with
EFBIG then, which is not the same error but as final. Which of the two it is, is printed.
"""

import os
import resource
import subprocess
from pathlib import Path

SIZE = 48 << 20


class Tmpfs:
    """Mounted at a directory until `remove`."""

    kind = "tmpfs"

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", self.directory], check=True)
        self.ballast = self.directory / "ballast"

    def fill(self):
        """Writes until nothing fits any more."""
        with open(self.ballast, "wb", buffering=0) as ballast:
            for piece in (1 << 20, 4096):
                try:
                    while ballast.write(bytes(piece)) == piece:
                        pass
                except OSError:
                    pass

    def empty(self):
        self.ballast.unlink(missing_ok=True)

    def remove(self):
        subprocess.run(["umount", self.directory], check=True)


class FileSizeLimit:
    """No file of the node may grow beyond what it is."""

    kind = "limit on the size of files"

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir()
        self.process = None

    def fill(self):
        self._limit(min((path.stat().st_size for path in self.directory.glob("*.db*")), default=0))

    def empty(self):
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size):
        if self.process is not None and self.process.runs():
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def remove(self):
        pass


def disk(directory):
    return Tmpfs(directory) if os.geteuid() == 0 else FileSizeLimit(directory)
