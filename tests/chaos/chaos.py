"""The chaos suite: seeds in, a verdict for each out; the last line is `n passed, m failed`.

Started by `tests/chaos/run`, which has installed and started what this needs. The exit code is 0 only where no seed
failed. What a failed seed left (logs, configuration, findings) stays in the state directory, whose path is printed.
"""

import argparse
import json
import os
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import checker
import plan as plans
from processes import Failed
from run import Run, forget
from scene import Scene, Tools

# Less than this, and a run proves nothing.
LEAST = {
    "calm": {"acknowledged": 15, "visible": 8, "downloads": 5, "over the quota": 5},
    "": {"acknowledged": 5, "visible": 3, "downloads": 1},
}

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Told:
    """Numbers of all runs, for the summary."""

    def __init__(self):
        self.passed, self.failed, self.sums = 0, [], Counter()

    def add(self, plan, figures, states):
        self.sums.update(figures)
        self.sums.update({f"state {state}": count for state, count in states.items()})
        self.sums.update({f"fault {fault.name}": 1 for fault in plan.faults})
        self.sums[f"store {plan.store}"] += 1
        self.sums[f"kind {plan.kind}"] += 1


def say(text):
    print(text, flush=True)


def one_seed(scene, seed, told):
    plan = plans.draw(seed)
    say(f"seed {seed}: {plan}")
    begun = time.monotonic()
    run = Run(scene, plan, scene.directory / f"seed-{seed}")
    findings = []
    try:
        run.prepare()
        world = run.play()
        findings = checker.check(world)
        states = Counter(row.state for row in world.rows.values())
        figures = run.figures()
        findings += too_little(plan, {**figures, **states})
        told.add(plan, figures, states)
        line = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        line += f"; {figures['downloads']} downloads, {figures['refused']} refusals"
        line += f" ({figures['over the quota']} over the quota)"
        if run.started_again:
            line += f"; {run.started_again} starts of nodes that had ended"
        if plan.idle:
            line += f"; {run.idle_held:,} idle connections held"
    except Exception as error:  # One seed must not end the others.
        findings.append(f"suite: {type(error).__name__}: {error}")
        if not isinstance(error, Failed):
            findings.append(traceback.format_exc())
        line = "did not come to its end"
    finally:
        remove(run, findings)
    seconds = time.monotonic() - begun
    if findings:
        told.failed.append(seed)
        say(f"seed {seed}: FAILED after {seconds:.1f} s: {line}")
        for finding in findings[:20]:
            say(f"    {finding}")
        (run.directory / "findings.txt").write_text("\n".join([str(plan), *findings]) + "\n")
        say(f"    logs: {run.directory}")
    else:
        told.passed += 1
        say(f"seed {seed}: passed in {seconds:.1f} s: {line}")
        if os.environ.get("CHAOS_KEEP") != "1":
            forget(run.directory)


def remove(run, findings):
    try:
        run.remove()
    except Exception as error:
        findings.append(f"suite: what the run had could not be removed: {type(error).__name__}: {error}")


def sabotage(scene, told):
    """A real run on a database that loses audit entries and forgets what was reserved: the checker has to find it out."""
    scene.sabotage()
    run = Run(scene, plans.quiet(), scene.directory / "sabotage")
    findings = []
    try:
        run.prepare()
        findings = checker.check(run.play())
    finally:
        remove(run, findings)
    found = Counter(finding.split(":")[0] for finding in findings)
    say(f"sabotage: {dict(found)}")
    if found["P3"] and found["P4"]:
        told.passed += 1
    else:
        told.failed.append("sabotage")


def too_little(plan, figures):
    for name, least in LEAST.get(plan.kind, LEAST[""]).items():
        if figures.get(name, 0) < least:
            yield f"substance: {figures.get(name, 0)} {name}, and {least} are needed for a proof"


def interrupt(*_):
    """Once: Ctrl-C reaches us from the terminal and from the script, and the second must not end the tidying up."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def seeds_of(arguments):
    if arguments.seed:
        return arguments.seed
    if arguments.list:
        lines = Path(arguments.list).read_text().splitlines()
        return [int(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]
    return range(arguments.start, arguments.start + arguments.seeds)


def main():
    parser = argparse.ArgumentParser(description="faults of all kinds against real gateways; see docs/reliability.md")
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds")
    parser.add_argument("--start", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, action="append", help="this seed only; may be repeated")
    parser.add_argument("--list", help="a file with a seed on each line")
    parser.add_argument("--sabotage", action="store_true", help="in the end, see the checker find out a broken database")
    arguments = parser.parse_args()
    for number in SIGNALS:
        signal.signal(number, interrupt)
    told, begun, scene = Told(), time.monotonic(), None
    ended = False
    try:
        scene = Scene(Path(os.environ["CHAOS_STATE"]), Path(os.environ["CHAOS_BIN"]), Tools.of_environment())
        for seed in seeds_of(arguments):
            one_seed(scene, seed, told)
        if arguments.sabotage:
            sabotage(scene, told)
        ended = True
    except KeyboardInterrupt:
        say("interrupted")
    finally:
        if scene:
            scene.end()
    summary = {name: told.sums[name] for name in sorted(told.sums)}
    say(f"all runs in {(time.monotonic() - begun) / 60:.1f} min: {json.dumps(summary)}")
    if told.failed:
        say(f"failed: {' '.join(map(str, told.failed))}; each again with make chaos SEED=…")
    say(f"{told.passed} passed, {len(told.failed)} failed")
    return 0 if ended and told.passed and not told.failed else 1


if __name__ == "__main__":
    sys.exit(main())
