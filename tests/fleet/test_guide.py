"""The examples of clusters in docs/fleet.md: they fit the schemas, and their commands are commands of ours."""

import argparse
import copy
import json
import re
import shlex
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from tests.fleet.support import ROOT
from tests.requirements import needs

pytestmark = needs("ray")  # its packages bring jsonschema, and it has the schema of a cluster


@pytest.fixture(scope="module")
def guide():
    return (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def examples(guide):
    """Return the examples by the names of their files."""
    blocks = re.findall(r"```yaml\n# ([\w.]+)[^\n]*\n(.*?)```", guide, re.DOTALL)
    return {name: yaml.safe_load(text) for name, text in blocks}


@pytest.fixture(scope="module")
def cluster_schema():
    ray = Path(find_spec("ray").submodule_search_locations[0])
    return json.loads((ray / "autoscaler" / "ray-schema.json").read_text())


@pytest.fixture(scope="module")
def job_schema():
    return json.loads(Path(__file__).with_name("kuberay.schema.json").read_text())


def faults(value, schema):
    from jsonschema import Draft7Validator

    return [error.message for error in Draft7Validator(schema).iter_errors(value)]


def without(value, *keys):
    """Return a copy that lacks what the keys lead to."""
    changed = copy.deepcopy(value)
    inner = changed
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return changed


def test_the_cluster_fits_the_schema_of_ray(examples, cluster_schema):
    cluster = examples["cluster.yaml"]
    assert faults(cluster, cluster_schema) == []
    assert cluster["head_node_type"] in cluster["available_node_types"]
    assert (
        sum(kind.get("max_workers", 0) for kind in cluster["available_node_types"].values()) >= cluster["max_workers"]
    )
    for keys in (["provider", "type"], ["cluster_name"], ["available_node_types", "gpu", "resources"]):
        assert faults(without(cluster, *keys), cluster_schema)
    assert faults({**cluster, "min_worker": 1}, cluster_schema)


def test_the_job_fits_the_fields_of_kuberay(examples, job_schema):
    job = examples["embed.yaml"]
    assert faults(job, job_schema) == []
    cluster = job["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for keys in (["headGroupSpec"], ["headGroupSpec", "template"], ["workerGroupSpecs", 0, "groupName"]):
        assert faults(without(job, "spec", "rayClusterSpec", *keys), job_schema)
    wrong = copy.deepcopy(job)
    wrong["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"] = {"num-cpus": 0}  # must be text
    assert faults(wrong, job_schema)


def test_every_command_of_the_guide_is_a_command(guide, examples):
    setup = examples["cluster.yaml"]["setup_commands"]
    said = [examples["embed.yaml"]["spec"]["entrypoint"], *(line for line in setup if line.startswith("echobank "))]
    shown = [line.partition("#")[0] for line in guide.splitlines() if line.startswith("echobank fleet ")]
    assert len(said) == 2 and len(shown) == 4
    for line in (*said, *shown):
        _, command, *words = shlex.split(line)
        parser = argparse.ArgumentParser()
        import_module(f"echobank.cli.{command}").add_arguments(parser)
        parser.parse_args(words)


def test_enough_cores_for_the_actors_of_the_job(examples):
    """Each actor reserves one core unless `--cpus` says otherwise."""
    words = shlex.split(examples["embed.yaml"]["spec"]["entrypoint"])
    (group,) = examples["embed.yaml"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    cores = sum(int(one["resources"]["limits"]["cpu"]) for one in group["template"]["spec"]["containers"])
    assert int(words[words.index("--actors") + 1]) == cores * group["maxReplicas"]
