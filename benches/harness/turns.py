"""What the pipeline's parts share: waiting, ending a process, and many requests at once."""

import concurrent.futures
import http.client
import signal
import subprocess
import sys
import threading
import time


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until(holds, what, seconds, pause=0.02):
    deadline = time.monotonic() + seconds
    while not (answer := holds()):
        if time.monotonic() > deadline:
            sys.exit(f"error: not within {seconds} s: {what}")
        time.sleep(pause)
    return answer


def at_once(host, files, clients, send, keep=None):
    """Sends a request for every file, `clients` at a time, each over a connection of its own; seconds."""
    lines = threading.local()

    def one(file):
        for attempt in range(10):
            line = getattr(lines, "line", None)
            if line is None:
                line = lines.line = http.client.HTTPConnection(host, timeout=120)
            answer = send(line, file)
            body = answer.read()
            if answer.will_close:
                line.close()
            if answer.status == 429:
                time.sleep(float(answer.headers.get("Retry-After", 1)))
                continue
            if answer.status not in (200, 201):
                raise RuntimeError(f"{answer.status}: {body[:400]}")
            if keep:
                keep(file, body)
            return
        raise RuntimeError("429, ten times")

    begun = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, files))
    return time.perf_counter() - begun
