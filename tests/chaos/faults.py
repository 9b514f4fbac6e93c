"""Makes the faults of a plan happen at their times, and takes all of them back at the end.

Runs in the main thread, because processes are started here. Nothing waits long: what takes time to start is left to
start, as an operator's system would do it.
"""

import signal
import time

import database


class Theatre:
    """The run's stage: what there is to break."""

    def __init__(self, run):
        self.run = run
        self.filled, self.turned = False, 0.0

    def play(self, until_done):
        """Plays the plan from now on; then waits until the clients have ended, or their time is over."""
        begun = time.monotonic()
        acts = sorted(
            [(fault.begin, fault, "begin") for fault in self.run.plan.faults]
            + [(fault.end, fault, "end") for fault in self.run.plan.faults],
            key=lambda act: act[0],
        )
        under_way = []
        for at, fault, what in acts:
            while time.monotonic() - begun < at:
                self.repeat(under_way)
                time.sleep(0.02)
            getattr(self, f"{what}_{fault.name}", lambda _: None)(fault)
            if what == "begin":
                under_way.append(fault)
            else:
                under_way.remove(fault)
        while time.monotonic() - begun < self.run.plan.seconds and not until_done():
            self.tend()
            time.sleep(0.05)

    def repeat(self, under_way):
        for fault in under_way:
            getattr(self, f"during_{fault.name}", lambda _: None)(fault)
        self.tend()

    def tend(self):
        """A node that ended by itself is started again, as systemd or Kubernetes would."""
        for node in self.run.nodes:
            if node.number not in self.run.down and node.start():
                self.run.started_again += 1

    def heal(self):
        """Everything runs, nothing is frozen, cut, full or out of time."""
        run = self.run
        run.down.clear()
        run.scene.heal()
        if self.filled:
            self.end_fillDisk(None)
        for node in run.nodes:
            if node.clock:
                node.clock.step(0)
            node.process.thaw()
            node.start()
        if run.plan.clocks:
            time.sleep(1.5)  # libfaketime looks at its file once a second.

    # Nodes.

    def node(self, fault):
        return self.run.nodes[fault.node]

    def begin_killNode(self, fault):
        self.run.down.add(fault.node)
        self.node(fault).kill()

    def end_killNode(self, fault):
        self.run.down.discard(fault.node)
        self.node(fault).start()

    def begin_freezeNode(self, fault):
        self.node(fault).process.freeze()

    def end_freezeNode(self, fault):
        self.node(fault).process.thaw()

    def begin_restartNode(self, fault):
        """In order: what is under way ends first. It is started again by `tend` as soon as it has ended."""
        self.node(fault).terminate()

    def begin_stepClock(self, fault):
        self.node(fault).clock.step(fault.seconds)

    def end_stepClock(self, fault):
        self.node(fault).clock.step(0)

    def begin_powerCut(self, _):
        """Everything but the storage dies at once."""
        self.run.down.update(node.number for node in self.run.nodes)
        self.run.scene.postgres.kill()
        scene = self.run.scene
        for process in (scene.clamd.process, scene.redis.process, *(node.process for node in self.run.nodes)):
            process.kill()

    def end_powerCut(self, _):
        self.run.scene.postgres.start()
        self.run.scene.clamd.start()
        self.run.scene.redis.start()
        self.run.down.clear()

    def during_endLeases(self, _):
        """Others may take what somebody still works on, as if that had stood still for too long."""
        if self.turn(0.3):
            self.if_there(lambda: database.end_leases(self.run.database))

    def if_there(self, act):
        """The database may be away itself, by another fault."""
        try:
            act()
        except database.AWAY:
            pass

    def turn(self, seconds):
        """True once in so many seconds."""
        now = time.monotonic()
        if now - self.turned < seconds:
            return False
        self.turned = now
        return True

    # PostgreSQL, clamd and Redis.

    def begin_restartPostgres(self, _):
        self.run.scene.postgres.stop_fast()

    def end_restartPostgres(self, _):
        if self.run.scene.postgres.is_stopping:
            self.run.scene.postgres.process.wait(30)
        self.run.scene.postgres.start()

    def begin_killPostgres(self, _):
        self.run.scene.postgres.kill()

    def end_killPostgres(self, _):
        self.run.scene.postgres.start()

    def begin_freezePostgres(self, _):
        self.run.scene.postgres.process.freeze()

    def end_freezePostgres(self, _):
        self.run.scene.postgres.process.thaw()

    begin_stallPostgres, end_stallPostgres = begin_freezePostgres, end_freezePostgres

    def during_disconnectPostgres(self, _):
        """The server ends one of the nodes' connections, whatever it is doing."""
        if self.turn(0.15):
            self.if_there(self.run.database.disconnect)

    def begin_killClamd(self, _):
        self.run.scene.clamd.process.kill()

    def end_killClamd(self, _):
        self.run.scene.clamd.start()

    def begin_freezeClamd(self, _):
        self.run.scene.clamd.process.freeze()

    def end_freezeClamd(self, _):
        self.run.scene.clamd.process.thaw()

    begin_stallClamd, end_stallClamd = begin_freezeClamd, end_freezeClamd

    def begin_killRedis(self, _):
        """What it had counted is lost."""
        self.run.scene.redis.process.kill()

    def end_killRedis(self, _):
        self.run.scene.redis.start()

    def begin_freezeRedis(self, _):
        self.run.scene.redis.process.freeze()

    def end_freezeRedis(self, _):
        self.run.scene.redis.process.thaw()

    # The storage and its events.

    def begin_cutStorage(self, _):
        self.run.scene.proxy.signal(signal.SIGUSR1)

    def end_cutStorage(self, _):
        self.run.scene.proxy.signal(signal.SIGUSR2)

    def begin_freezeStorage(self, _):
        self.run.scene.localstack.freeze()

    def end_freezeStorage(self, _):
        self.run.scene.localstack.thaw()

    def messenger(self, act):
        """LocalStack may be frozen itself; then the messenger does not come through either, and who would wait for it
        here could not thaw it."""
        if not self.run.scene.localstack.frozen:
            act()

    def begin_purgeEvents(self, _):
        self.messenger(self.run.messenger.purge)

    def during_stealEvents(self, _):
        self.messenger(self.run.messenger.steal)

    def during_doubleEvents(self, _):
        self.messenger(self.run.messenger.double)

    def begin_garbageEvents(self, _):
        self.messenger(lambda: self.run.messenger.garble(self.run.name))

    # The disk of an SQLite node.

    def begin_fillDisk(self, _):
        self.run.disk.fill()
        self.filled = True

    def end_fillDisk(self, _):
        self.run.disk.empty()
        self.filled = False
