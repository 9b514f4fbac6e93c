"""What happens in one run, drawn from its seed alone: the store, the faults with their times, the clients.

The same seed draws the same plan on every machine; what the machine makes of it does not repeat exactly. Printed before
the run, so that a failed one can be looked into: `make chaos SEED=1234`.
"""

import random
from dataclasses import dataclass, field

from gateway import NODES

# Faults that come and go: name, weight, shortest and longest time in seconds. A component has one at a time.
COMMON = {
    "killNode": (10, 0.2, 1.5),
    "freezeNode": (5, 0.5, 3.0),
    "restartNode": (3, 0.0, 0.1),
    "powerCut": (2, 0.2, 1.0),
    "endLeases": (5, 0.5, 3.0),
    "killClamd": (4, 0.2, 2.0),
    "freezeClamd": (3, 0.5, 3.0),
    "stallClamd": (1, 3.5, 5.0),
    "cutStorage": (5, 0.2, 2.0),
    "freezeStorage": (4, 0.3, 2.5),
    "purgeEvents": (2, 0.0, 0.1),
    "stealEvents": (3, 0.5, 2.0),
    "doubleEvents": (3, 0.5, 2.0),
    "garbageEvents": (2, 0.0, 0.1),
}
POSTGRES = {
    "restartPostgres": (4, 0.1, 1.0),
    "killPostgres": (4, 0.1, 1.0),
    "freezePostgres": (4, 0.3, 3.0),
    "stallPostgres": (1, 5.5, 7.0),
    "disconnectPostgres": (3, 0.3, 2.0),
}
REDIS = {"killRedis": (5, 0.2, 2.0), "freezeRedis": (5, 0.3, 2.5)}
SQLITE = {"fillDisk": (14, 0.5, 2.5)}
CLOCK = {"stepClock": (0, 1.0, 4.0)}
STEPS = (-300, -120, -45, -5, 5, 45, 120, 300)
KINDS = {"faults": 78, "clock": 8, "nuisances": 6, "idle": 3, "calm": 5}


@dataclass
class Fault:
    """One fault: when it begins and ends, in seconds from the first client on."""

    name: str
    begin: float
    end: float
    node: int = 0
    seconds: int = 0

    def __str__(self):
        where = f" {self.node}" if "Node" in self.name or self.name == "stepClock" else ""
        step = f" {self.seconds:+d} s" if self.seconds else ""
        return f"{self.name}{where}{step} {self.begin:.1f}-{self.end:.1f}"

    def component(self):
        """What it happens to; two faults of one component do not overlap."""
        if "Node" in self.name:
            return f"node{self.node}"
        for part in ("Postgres", "Clamd", "Storage", "Redis"):
            if self.name.endswith(part):
                return part
        return "Postgres" if self.name == "endLeases" else self.name


@dataclass
class Plan:
    seed: int
    kind: str
    store: str
    clients: int
    uploads: int
    greedy: int
    pause: float
    patience: float
    seconds: float
    events: bool
    patient: bool
    versioned: bool
    # What requests meet while Redis is away; None where each node counts for itself.
    limits: str | None
    idle: int = 0
    nuisances: tuple = ()
    faults: list = field(default_factory=list)

    @property
    def nodes(self):
        return NODES if self.store == "postgres" else 1

    @property
    def clocks(self):
        return self.kind == "clock"

    def __str__(self):
        parts = [f"{self.store}, {self.nodes} node{'s' * (self.nodes > 1)}", self.kind]
        parts.append(f"{self.clients} clients of {self.uploads} uploads and {self.greedy} greedy ones")
        if not self.events:
            parts.append("no events at all")
        if self.limits:
            parts.append(f"limits in Redis, else {self.limits}")
        if self.versioned:
            parts.append("versioned bucket")
        if self.patient:
            parts.append("leases end by themselves")
        if self.idle:
            parts.append(f"{self.idle:,} idle connections")
        parts.extend(self.nuisances)
        return "; ".join(parts + [", ".join(map(str, self.faults)) or "no faults"])


def draw(seed):
    chance = random.Random(seed)
    kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
    plan = Plan(
        seed=seed,
        kind=kind,
        store="sqlite" if chance.random() < 0.2 else "postgres",
        clients=chance.randrange(8, 15),
        uploads=chance.randrange(3, 6),
        greedy=chance.randrange(2, 5),
        pause=chance.uniform(0.1, 0.6),
        patience=chance.uniform(2, 6),
        seconds=chance.uniform(4.0, 6.0),
        events=chance.random() > 0.1,
        patient=chance.random() < 0.05,
        versioned=chance.random() < 0.25,
        limits=chance.choice(("deny", "local", None)),
    )
    if kind == "idle":
        plan.idle = 10_000
    if kind == "nuisances" or (kind == "faults" and chance.random() < 0.15):
        plan.nuisances = tuple(chance.sample(("slow", "endless", "halfOpen"), chance.randrange(1, 4)))
    if kind == "clock":
        plan.faults = clock_steps(chance, plan)
    if kind in ("faults", "clock"):
        add_faults(chance, plan, chance.randrange(2, 6) if kind == "faults" else chance.randrange(0, 2))
    plan.faults.sort(key=lambda fault: fault.begin)
    return plan


def quiet():
    """A plan without any fault."""
    return Plan(0, "calm", "postgres", 8, 3, 4, 0.2, 5, 5, True, False, False, None)


def clock_steps(chance, plan):
    """Steps of some nodes, the largest of which outlive the URLs' life of two minutes."""
    made = []
    for node in chance.sample(range(plan.nodes), chance.randrange(1, plan.nodes + 1)):
        begin = chance.uniform(0.3, 2.0)
        made.append(Fault("stepClock", begin, begin + chance.uniform(1.5, 4.0), node, chance.choice(STEPS)))
    return made


def add_faults(chance, plan, count):
    table = {**COMMON, **(POSTGRES if plan.store == "postgres" else SQLITE)}
    if plan.limits:
        table.update(REDIS)
    if not plan.events:
        table = {name: one for name, one in table.items() if not name.endswith("Events")}
    weights = [weight for weight, _, _ in table.values()]
    for _ in range(count * 3):
        if count == 0:
            return
        name = chance.choices(list(table), weights)[0]
        _, shortest, longest = table[name]
        begin = chance.uniform(0.3, plan.seconds - 0.5)
        fault = Fault(name, begin, begin + chance.uniform(shortest, longest), chance.randrange(plan.nodes))
        if all(is_apart(fault, other) for other in plan.faults):
            plan.faults.append(fault)
            count -= 1


def is_apart(fault, other):
    if fault.component() != other.component():
        return True
    return fault.begin > other.end + 0.5 or other.begin > fault.end + 0.5
