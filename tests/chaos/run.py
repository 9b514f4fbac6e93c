"""One run: the nodes of one seed on a database, a bucket and a queue of their own; the clients; the faults; the end.

After the last fault everything is made whole again, and the run waits until nothing is under way. Time that nobody
wants to wait for is taken out of the database (`database.age`): upload URLs live for at least two minutes, and the
lease of a dead node for thirty seconds. A few seeds wait for the leases instead.
"""

import random
import shutil
import threading
import time

import database
import gateway
import wire
from checker import FINAL
from clients import Client, Greedy
from disk import disk
from events import Messenger
from faults import Theatre
from nuisances import Nuisances
from processes import Failed, until
from seen import Seen, sha256
from world import World

# How long a run waits for its clients, and for everything to settle, on a busy machine.
PATIENCE = 120


class Run:
    def __init__(self, scene, plan, directory):
        self.scene, self.plan, self.directory = scene, plan, directory
        self.name = f"chaos-{plan.seed}"
        self.seen, self.ending = Seen(), threading.Event()
        self.nodes, self.down, self.started_again = [], set(), 0
        self.tokens = scene.tokens[plan.store]
        # Refusals that a client has to expect. Where clocks are moved, a URL may end before it is asked for again.
        self.refusals = {"quota_bytes_exceeded", "quota_objects_exceeded"} | (
            {"idempotency_key_spent"} if plan.clocks else set()
        )
        self.public = f"http://127.0.0.1:{scene.balancer.port}"
        self.disk, self.queue, self.database, self.begun, self.left = None, None, None, None, None

    def clock(self):
        """Seconds since the first client."""
        return time.monotonic() - self.begun if self.begun else 0

    def prepare(self):
        self.directory.mkdir()
        gateway.write_policies(self.directory / "policies", self.name, self.scene.endpoint)
        queue = self.scene.storage.make(self.name, self.plan.events, self.plan.versioned)
        self.queue = queue
        self.messenger = Messenger(self.scene.storage.sqs, queue)
        if self.plan.store == "postgres":
            self.database = self.scene.postgres_database(self.name)
            store = gateway.store_settings(url=self.scene.postgres.url(self.name))
        else:
            self.disk = disk(self.directory / "disk")
            path = self.disk.directory / "vestibule.db"
            self.database = self.scene.sqlite_database(path)
            store = gateway.store_settings(path=path)
        scanner, endpoint = self.scene.clamd.port, self.scene.endpoint
        limits = ""
        if self.plan.limits:
            limits = gateway.limit_settings(self.scene.redis.port, self.plan.limits, self.name)
        queue = through(queue, endpoint)
        common = gateway.settings(self.directory / "policies", store, scanner, endpoint, queue, limits)
        for number in range(self.plan.nodes):
            clock = None
            if self.plan.clocks:
                clock = gateway.Clock(self.scene.tools.faketime, self.directory / f"clock{number}")
            ports, binary = self.scene.ports[number], self.scene.binary
            self.nodes.append(gateway.Node(number, ports, binary, self.directory, common, self.public, clock))
        if self.disk is not None:
            self.disk.process = self.nodes[0].process
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.ready()
        self.balanced()

    def balanced(self):
        """Waits until the balancer has noticed that there is a node."""
        until("the balancer's notice", 10, lambda: wire.send("GET", f"{self.public}/healthz", timeout=2))

    def play(self):
        """Clients, faults, and the end of both; the world as it is then."""
        plan = self.plan
        clients = [Client(f"client{n}", plan.seed, self, plan.uploads) for n in range(plan.clients)]
        greedy = [Greedy(f"greedy{n}", plan.seed, self, 0) for n in range(plan.greedy)]
        ports = [node.port for node in self.nodes]
        nuisances = Nuisances(plan.seed, ports, plan.nuisances, plan.idle)
        if plan.nuisances or plan.idle:
            nuisances.start()
            if plan.idle:
                until("the idle connections", 60, lambda: nuisances.most_idle or not nuisances.is_alive())
        theatre = Theatre(self)
        self.begun = time.monotonic()
        for client in clients + greedy:
            client.start()
        theatre.play(lambda: not any(client.is_alive() for client in clients))
        self.ending.set()
        theatre.heal()
        deadline = time.monotonic() + PATIENCE
        while any(client.is_alive() for client in clients + greedy):
            if time.monotonic() > deadline:
                raise Failed("the clients did not come to an end")
            theatre.tend()
            time.sleep(0.05)
        if plan.nuisances or plan.idle:
            nuisances.end()
        self.idle_held = nuisances.most_idle
        self.settle(theatre)
        return self.world()

    def settle(self, theatre):
        """Waits until every object has come to its end and the bucket holds what it should."""
        for node in self.nodes:
            node.ready()
        begun = aged = time.monotonic()
        database.age(self.database, not self.plan.patient)
        while left := self.under_way():
            now = time.monotonic()
            if now - begun > PATIENCE:
                self.left = f"after {PATIENCE} s {left}"
                return
            if now - aged > 4:
                database.age(self.database, not self.plan.patient)
                aged = now
            theatre.tend()
            time.sleep(0.1)

    def under_way(self):
        """What is not at its end yet; nothing where everything is."""
        states, jobs = database.states(self.database), database.jobs(self.database)
        moving = {state: count for state, count in states.items() if state not in FINAL}
        if moving or jobs:
            return f"objects are {moving}, jobs are {jobs}"
        # Strays are found by the sweep, which may need another round.
        held = states.get("quarantined", 0) + states.get("unscannable", 0) + states.get("visible", 0)
        keys = len(self.scene.storage.keys(self.name))
        return f"{keys} keys are in the bucket, and {held} should be" if keys != held else None

    def world(self):
        """Reads everything, after a node was killed and started once more."""
        chance = random.Random(f"{self.plan.seed} end")
        if chance.random() < 0.3:
            node = chance.choice(self.nodes)
            node.kill()
            node.start()
            node.ready()
            self.balanced()
        rows = database.rows(self.database)
        told, fetched = self.ask_nodes(chance), self.fetch(chance, rows)
        storage = self.scene.storage
        return World(
            uploads=self.seen.uploads,
            rows=rows,
            audit=database.audit(self.database),
            usage=database.usage(self.database),
            steps=database.steps(self.database),
            counts=database.counts(self.database),
            jobs=database.jobs(self.database) + ([self.left] if self.left else []),
            bucket={key: storage.read(self.name, key) for key in storage.keys(self.name)},
            quotas=gateway.QUOTAS,
            told=told,
            fetched=fetched,
            surprises=self.seen.surprises + [broken for node in self.nodes for broken in node.broken()],
            clocks=any(fault.seconds > 100 for fault in self.plan.faults),
            secrets=list(self.tokens.values()),
        )

    def ask_nodes(self, chance):
        """What each node says of some of the acknowledged objects."""
        known = [upload for upload in self.seen.uploads if upload.id]
        told = []
        for upload in chance.sample(known, min(8, len(known))):
            for node in self.nodes:
                headers = {"authorization": f"Bearer {self.tokens[upload.app]}"}
                answer = wire.send("GET", f"{node.public}/objects/{upload.id}", headers)
                told.append((node.number, upload.id, answer.json().get("state") if answer else "no answer"))
        return told

    def fetch(self, chance, rows):
        """Downloads some of the visible objects that clients know of."""
        visible = [one for one in self.seen.uploads if one.id in rows and rows[one.id].state == "visible"]
        client = Client("afterwards", self.plan.seed, self, 0)
        fetched = []
        for upload in chance.sample(visible, min(5, len(visible))):
            before = len(upload.downloads)
            client.download(upload)
            new = upload.downloads[before:]
            fetched.append((upload.id, new[0].sha256 if new else None))
        return fetched

    def remove(self):
        """Ends the nodes and takes away what the run had; its directory stays."""
        self.ending.set()
        for node in self.nodes:
            node.process.thaw()
            node.kill()
        self.scene.heal()
        try:
            self.scene.storage.remove(self.name, self.queue)
        finally:
            if self.plan.store == "postgres":
                self.scene.postgres.drop(self.name)
            elif self.disk is not None:
                self.disk.remove()

    def figures(self):
        """What the run had in substance."""
        uploads = self.seen.uploads
        return {
            "acknowledged": sum(bool(upload.id) for upload in uploads),
            "sent": sum(upload.arrived() is True for upload in uploads),
            "downloads": sum(one.sha256 is not None for upload in uploads for one in upload.downloads),
            "refused": sum(len(upload.refused) for upload in uploads),
            "over the quota": sum(code.startswith("quota") for upload in uploads for code in upload.refused),
        }


def through(queue, endpoint):
    """The queue's address as the gateway reaches it."""
    return queue and f"{endpoint}/{queue.split('/', 3)[3]}"


def forget(directory):
    shutil.rmtree(directory, ignore_errors=True)
