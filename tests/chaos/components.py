"""The servers around the gateway that may be killed and frozen: PostgreSQL, clamd, Redis; and the balancer that stays.

Each keeps its port and its data over every restart. They run as long as the suite does; a run of one seed gets a
database, a bucket and a queue of its own.
"""

import shutil
import signal
from pathlib import Path

import psycopg

from payloads import eicar
from processes import Process, free_port, listens, ran, send, until

TOP = Path(__file__).resolve().parent.parent.parent


class Postgres:
    """A cluster of its own, with fsync on, since a kill of the server must not lose what was committed."""

    def __init__(self, directory, tools):
        self.port = free_port()
        home = directory / "postgres"
        home.mkdir()
        self.data, self.user = home / "data", tools.postgres_user
        password = home / "password"
        password.write_text("vestibule\n")
        if self.user:
            shutil.chown(home, self.user)
            shutil.chown(password, self.user)
        ran(
            [tools.postgres / "initdb", "-D", self.data, "-U", "vestibule", f"--pwfile={password}",
             "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"],
            user=self.user,
        )  # fmt: skip
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "log_min_messages": "warning",
            # After a kill it would otherwise sync every file of every database, one by one.
            "recovery_init_sync_method": "syncfs",
        }
        argv = [tools.postgres / "postgres", "-D", self.data]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        self.process = Process("postgres", argv, home / "postgres.log", user=self.user)
        if self.user:
            self.process.log.touch()
        self.start()
        self.ready()

    def start(self):
        if not self.process.runs():
            self.is_stopping = False
            self.process.start()

    def url(self, database):
        return f"postgres://vestibule:vestibule@127.0.0.1:{self.port}/{database}"

    def connect(self, database="postgres"):
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5)

    def ready(self):
        until("PostgreSQL's start", 60, self._answers)

    def _answers(self):
        if not self.process.runs():
            self.start()  # It refuses to start while children of a killed one still live.
        try:
            with self.connect() as database:
                database.execute("SELECT 1")
            return True
        except psycopg.Error:
            return False

    def stop_fast(self):
        """What `pg_ctl stop -m fast` sends: transactions are rolled back, clients are told."""
        self.is_stopping = self.process.runs()
        self.process.signal(signal.SIGINT)

    def kill(self):
        """`kill -9` of every process of it."""
        for pid in self.process.family():
            send(pid, signal.SIGKILL)
        self.process.wait(10)

    def make(self, name, template):
        with self.connect() as database:
            database.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def drop(self, name):
        with self.connect() as database:
            database.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


class Clamd:
    """clamd with one signature, which finds the EICAR text wherever it stands."""

    def __init__(self, directory, tools):
        home = directory / "clamd"
        signatures, temporary = home / "signatures", home / "tmp"
        for made in (signatures, temporary):
            made.mkdir(parents=True)
        (signatures / "chaos.ndb").write_text(f"Test.EICAR:0:*:{eicar().hex()}\n")
        self.port = free_port()
        text = (TOP / "localstack/clamd/clamd.conf.in").read_text()
        words = {"PORT": self.port, "SOCKET": home / "clamd.sock", "DATABASE": signatures, "TEMPORARY": temporary}
        for word, value in words.items():
            text = text.replace(f"@{word}@", str(value))
        settings = home / "clamd.conf"
        settings.write_text(text)
        self.process = Process("clamd", [tools.clamd, f"--config-file={settings}"], home / "clamd.log")
        self.start()
        self.ready()

    def start(self):
        self.process.start()

    def ready(self):
        until("clamd's start", 60, lambda: listens(self.port))


class Redis:
    """Keeps nothing on disk: a kill loses what it has counted, as it does where nobody has asked for more."""

    def __init__(self, directory, tools):
        home = directory / "redis"
        home.mkdir()
        self.port = free_port()
        settings = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", home, "--save", "", "--appendonly", "no"]
        self.process = Process("redis", [tools.redis, *settings], home / "redis.log")
        self.start()
        self.ready()

    def start(self):
        self.process.start()

    def ready(self):
        until("Redis's start", 20, lambda: listens(self.port))


class Balancer:
    """haproxy in tcp mode: it knows nothing of HTTP and asks a node nothing but a connection."""

    def __init__(self, directory, tools, ports):
        home = directory / "haproxy"
        home.mkdir()
        self.port = free_port()
        nodes = "\n".join(
            f"    server node{number} 127.0.0.1:{port} check inter 200ms fall 1 rise 1"
            for number, port in enumerate(ports)
        )
        settings = home / "haproxy.cfg"
        settings.write_text(
            "global\n    maxconn 4000\n    nbthread 1\n"
            "defaults\n    mode tcp\n    timeout connect 500ms\n    timeout client 60s\n    timeout server 60s\n"
            "    retries 2\n    option redispatch\n"
            f"frontend public\n    bind 127.0.0.1:{self.port}\n    default_backend nodes\n"
            f"backend nodes\n    balance roundrobin\n{nodes}\n"
        )
        self.process = Process("haproxy", [tools.haproxy, "-db", "-f", settings], home / "haproxy.log").start()
        until("haproxy's start", 20, lambda: listens(self.port))
