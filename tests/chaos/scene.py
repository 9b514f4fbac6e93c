"""What all runs share: the servers, the ports, the templates of the databases. Started once, ended with the suite."""

import os
import resource
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import gateway
from components import Balancer, Clamd, Postgres, Redis
from database import SABOTAGE, Sqlite
from database import Postgres as PostgresDatabase
from events import Storage
from processes import Process, free_port, listens, until

HERE = Path(__file__).resolve().parent


@dataclass
class Tools:
    """Programs that `tests/chaos/run` has found or installed."""

    postgres: Path
    postgres_user: str | None
    clamd: str
    redis: str
    haproxy: str
    faketime: str

    @classmethod
    def of_environment(cls):
        root = os.geteuid() == 0
        return cls(
            Path(os.environ["CHAOS_POSTGRES"]),
            "postgres" if root else None,
            os.environ["CHAOS_CLAMD"],
            os.environ["CHAOS_REDIS"],
            os.environ["CHAOS_HAPROXY"],
            os.environ["CHAOS_FAKETIME"],
        )


class Adopted(Process):
    """A process that somebody else started and ends: LocalStack."""

    def __init__(self, name, pid):
        self.name, self._pid = name, pid

    @property
    def pid(self):
        return self._pid

    def runs(self):
        return Path(f"/proc/{self._pid}").exists()


class Scene:
    """The servers and what runs are made from."""

    def __init__(self, directory, binary, tools):
        self.directory, self.binary, self.tools = directory, binary, tools
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.open_files = most
        endpoint = os.environ["CHAOS_S3_ENDPOINT"]
        self.localstack = Adopted("LocalStack", int(os.environ["CHAOS_LOCALSTACK_PID"]))
        self.storage = Storage(endpoint)
        self.started = []
        proxy_port = free_port()
        argv = [sys.executable, HERE / "proxy.py", str(proxy_port), endpoint.rsplit(":", 1)[1]]
        self.proxy = self._keep(Process("proxy", argv, directory / "proxy.log").start())
        self.endpoint = f"http://127.0.0.1:{proxy_port}"
        self.postgres = Postgres(directory, tools)
        self._keep(self.postgres.process)
        self.clamd = Clamd(directory, tools)
        self._keep(self.clamd.process)
        self.redis = Redis(directory, tools)
        self._keep(self.redis.process)
        self.ports = gateway.ports()
        self.balancer = Balancer(directory, tools, [public for public, _ in self.ports])
        self._keep(self.balancer.process)
        until("the proxy's start", 20, lambda: listens(proxy_port))
        self._make_templates()

    def _keep(self, process):
        self.started.append(process)
        return process

    def _make_templates(self):
        """A database of each kind with the schema, the tokens and the watch; runs begin with a copy."""
        home = self.directory / "template"
        home.mkdir()
        gateway.write_policies(home / "policies", "template", self.endpoint)
        self.tokens = {}
        PostgresDatabase(self.postgres, "postgres").change("CREATE DATABASE template_of_runs")
        self.sqlite_template = home / "template.db"
        stores = {
            "postgres": gateway.store_settings(url=self.postgres.url("template_of_runs")),
            "sqlite": gateway.store_settings(path=self.sqlite_template),
        }
        for kind, store in stores.items():
            config = home / f"{kind}.toml"
            config.write_text(gateway.settings(home / "policies", store, self.clamd.port, self.endpoint, None, ""))
            if kind == "postgres":
                gateway.command(self.binary, config, "migrate", "up")
            self.tokens[kind] = {
                app: gateway.command(self.binary, config, "token", "create", "--app", app, "--workflow", "chaos")
                for app in gateway.QUOTAS
            }
        PostgresDatabase(self.postgres, "template_of_runs").watch()
        Sqlite(self.sqlite_template).watch()

    def postgres_database(self, name):
        self.postgres.make(name, "template_of_runs")
        return PostgresDatabase(self.postgres, name)

    def sabotage(self):
        """From now on every PostgreSQL database is one that cannot be trusted."""
        PostgresDatabase(self.postgres, "template_of_runs").change(SABOTAGE)

    def sqlite_database(self, path):
        shutil.copyfile(self.sqlite_template, path)
        return Sqlite(path)

    def heal(self):
        """Every server runs and answers."""
        servers = (self.postgres, self.clamd, self.redis)
        for process in (self.localstack, *(server.process for server in servers)):
            process.thaw()
        self.proxy.signal(signal.SIGUSR2)
        for server in servers:
            server.start()
            server.ready()

    def end(self):
        """Ends what was started, PostgreSQL last and in order, so that it leaves no shared memory behind."""
        for process in reversed(self.started):
            process.thaw()
            if process is self.postgres.process:
                process.signal(signal.SIGINT)
                try:
                    process.wait(10)
                    continue
                except Exception:  # It is killed then.
                    pass
            for pid in process.family():
                os.kill(pid, signal.SIGKILL)
            process.wait(10)
