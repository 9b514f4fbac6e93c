"""The machine: its cores, its disks, and what a process has used so far. Reads /proc; nothing here starts a server.

The server under test has the first core, wrk and PostgreSQL the second. The steady disk is a memory file system on which
every sync takes 160 µs (benches/load/steady_disk.c).
"""

import contextlib
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "target/bench"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
CACHE = pathlib.Path(
    os.environ.get("VESTIBULE_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "vestibule")
)
SERVER_CORE, LOAD_CORE = "0", "1"
TICKS = os.sysconf("SC_CLK_TCK")


def say(text=""):
    print(text, flush=True)


def build(profile, *what):
    """Builds and returns the directory of what was built, which `--example` puts in `examples/`. Where
    VESTIBULE_BENCH_BUILT is set, what lies there is taken as it is."""
    if os.environ.get("VESTIBULE_BENCH_BUILT"):
        return TARGET / profile
    command = ["cargo", "build", "--locked", "--profile", profile, *what]
    if subprocess.run(command, cwd=ROOT).returncode:
        sys.exit("error: the build failed; the compiler says why above")
    return TARGET / profile


def summary(figures):
    """Merges figures into target/bench/summary.json."""
    pairs = [f"{key}={value}" for key, value in figures.items()]
    subprocess.run([ROOT / "benches/summary", *pairs], check=True)


@contextlib.contextmanager
def awake():
    """Keeps idle cores from halting: a virtual core that halts comes back cold and slow, which would be counted as the
    server's time (docs.kernel.org/power/pm_qos_interface.html). Says so where that is not allowed."""
    try:
        latency = open("/dev/cpu_dma_latency", "wb", buffering=0)
    except OSError as error:
        say(f"note: cores may halt between requests, which costs servers that wait and not the bare handler: {error}")
        yield
        return
    with latency:
        latency.write(struct.pack("i", 0))
        yield


class Disk:
    """A directory for databases, empty at first and removed at the end, and the environment of what works in it."""

    def __init__(self, name, directory, preload=None):
        self.name, self.directory, self.preload = name, pathlib.Path(directory), preload

    def environment(self):
        return {"LD_PRELOAD": str(self.preload)} if self.preload else {}


@contextlib.contextmanager
def disks():
    """The steady disk and this machine's own."""
    steady, real = pathlib.Path(f"/dev/shm/vestibule-bench-{os.getpid()}"), OUT / f"disk-{os.getpid()}"
    for directory in (steady, real):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    # In a place that PostgreSQL's user can read, too.
    library = steady / "steady_disk.so"
    source = ROOT / "benches/load/steady_disk.c"
    try:
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
        yield Disk("steady", steady, library), Disk("real", real)
    finally:
        for directory in (steady, real):
            shutil.rmtree(directory, ignore_errors=True)


def fdatasync(directory, times=300):
    """Median and 99th percentile of writing and syncing 16 KiB there, in ms."""
    took, path = [], pathlib.Path(directory, "sync")
    with open(path, "wb", buffering=0) as file:
        for at in range(times):
            file.seek(at % 64 * 16_384)
            file.write(b"\1" * 16_384)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    path.unlink()
    took.sort()
    return took[len(took) // 2], took[len(took) * 99 // 100]


def _stat(pid):
    """The fields of /proc/PID/stat after the name, the state first; None where it has ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def tree(pid):
    """The process and all below it."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(entry.name)):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found.extend(parents.get(one, []))
    return found


def cpu(pids):
    """User and system time so far, in seconds, with that of children that have ended."""
    ticks = 0
    for pid in pids:
        if fields := _stat(pid):
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS


def nanoseconds(pid):
    """CPU time of its threads so far, in ns: for stretches that clock ticks are too coarse for."""
    threads = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads)


def memory():
    """A directory in memory, where there is one with room."""
    directory = pathlib.Path("/dev/shm")
    roomy = directory.is_dir() and os.access(directory, os.W_OK) and shutil.disk_usage(directory).free > 1 << 30
    return directory if roomy else None


def rss(pids):
    """Resident memory in MiB."""
    pages = 0
    for pid in pids:
        if fields := _stat(pid):
            pages += int(fields[21])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
