"""What schemas do not see: that the manifests fit each other, the unit and the configuration.

Usage: check.py DEPLOY-DIRECTORY. Run by deploy/check, in its environment."""

import pathlib
import re
import sys
import tomllib

import yaml

ROOT = pathlib.Path(sys.argv[1])
KUBERNETES = ROOT / "kubernetes"
RELEASE = 5  # seconds to give leases back; src/startup/stop.rs


def fail(text):
    sys.exit(f"error: {text}")


def seconds(text):
    return {"s": 1, "m": 60}[text[-1]] * int(text[:-1])


kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
named = set(kustomization["resources"])
there = {file.name for file in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
if named != there:
    fail(f"kustomization.yaml names {sorted(named)}, and there are {sorted(there)}")
generated = set()
for generator in kustomization["configMapGenerator"]:
    generated.add(generator["name"])
    for entry in generator["files"]:
        if not (KUBERNETES / entry.split("=")[1]).is_file():
            fail(f"kustomization.yaml: there is no file {entry.split('=')[1]}")

objects = [thing for file in sorted(named) for thing in yaml.safe_load_all((KUBERNETES / file).read_text())]
by_kind = {thing["kind"]: thing for thing in objects}
pod = by_kind["Deployment"]["spec"]["template"]
labels = pod["metadata"]["labels"]
container = pod["spec"]["containers"][0]
ports = {port["name"] for port in container["ports"]}
for thing in objects:
    spec = thing.get("spec", {})
    selector = spec.get("selector") or spec.get("podSelector")
    if selector is not None and selector.get("matchLabels", selector) != labels:
        fail(f"{thing['kind']} {thing['metadata']['name']} selects other pods than the deployment's")
    for port in spec.get("ports", []):
        if port["targetPort"] not in ports:
            fail(f"the service {thing['metadata']['name']} names a port that the pod has not")
for rule in by_kind["NetworkPolicy"]["spec"]["ingress"]:
    if not rule.get("from") or {port["port"] for port in rule["ports"]} - ports:
        fail("a rule of the network policy is open to everybody, or names a port that the pod has not")
maps = [source["configMap"]["name"] for volume in pod["spec"]["volumes"] for source in
        volume.get("projected", {}).get("sources", [volume]) if "configMap" in source]
if set(maps) != generated:
    fail(f"the pod mounts {sorted(set(maps))}, and {sorted(generated)} are generated")

# The time to end: what systemd and Kubernetes leave must be more than what the node takes.
shutdown = tomllib.loads((KUBERNETES / "config/vestibule.toml").read_text())["shutdown"]
environment = {entry["name"]: entry.get("value") for entry in container["env"]}
if environment["VESTIBULE__SHUTDOWN__DRAIN"] != shutdown["drain"]:
    fail("the deployment and config/vestibule.toml have different shutdown.drain")
# Behind a balancer each node says where it alone is reached; what all say is what the drill refuses.
if "$(POD_IP)" not in (environment.get("VESTIBULE__PUBLIC__NODE_URL") or "") or "POD_IP" not in environment:
    fail("the deployment does not tell each node its own address, VESTIBULE__PUBLIC__NODE_URL")
needs = seconds(shutdown["drain"]) + seconds(shutdown["grace"]) + RELEASE
if pod["spec"]["terminationGracePeriodSeconds"] < needs:
    fail(f"terminationGracePeriodSeconds must be at least {needs}")
probe = container["readinessProbe"]
if seconds(shutdown["drain"]) < 2 * probe["periodSeconds"] * probe["failureThreshold"]:
    fail("shutdown.drain is shorter than it takes to notice that a node is leaving")
usual = tomllib.loads((ROOT.parent / "vestibule.toml").read_text())["shutdown"]
unit = (ROOT / "systemd/vestibule.service").read_text()
stop = int(re.search(r"(?m)^TimeoutStopSec=(\d+)s$", unit).group(1))
if stop <= seconds(usual["drain"]) + seconds(usual["grace"]) + RELEASE:
    fail("TimeoutStopSec is shorter than shutdown.drain and shutdown.grace")
print(f"manifests   {len(objects)} objects are valid and fit each other")
