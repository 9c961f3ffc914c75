"""The workflows, hooks and environments of continuous integration agree with each other and with the package."""

import re
import tomllib
from itertools import product
from pathlib import Path

import yaml

from echobank.version import __version__
from tests.ci.environment import read_environment

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def read(path):
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


def test_every_named_environment_is_in_the_list():
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = re.findall(r"ECHOBANK_TEST_ENVIRONMENT=([\w-]+)", script) + re.findall(r"ENVIRONMENT-(\w+)\}", makefile)
    named += [cell["environment"] for cell in matrix()["include"]]
    assert {"ci", "ci-avx2", "ci-no-torch", "clone", "linux", "macos", "windows"} == set(named)
    assert all(read_environment(name).minimum > 0 for name in named)


def test_one_extra_of_the_tests_brings_torch_and_the_other_does_not():
    extras = PROJECT["optional-dependencies"]

    def needed(extra):
        for line in extras[extra]:
            inner = re.fullmatch(r"echobank\[(.*)\]", line)
            yield from (part for name in inner[1].split(",") for part in needed(name)) if inner else [line]

    brings = {extra: any(line.startswith("torch") for line in needed(extra)) for extra in matrix()["extra"]}
    assert brings == {"dev": True, "test": False}
    assert not any(line.startswith("torch") for line in PROJECT["dependencies"])


def matrix():
    return read(".github/workflows/ci.yml")["jobs"]["tests"]["strategy"]["matrix"]


def test_the_workflow_tries_every_system_python_and_extra():
    cells = matrix()
    assert {(cell["os"], cell["environment"]) for cell in cells["include"]} == set(
        zip(cells["os"], ("linux", "macos", "windows"), strict=True)
    )
    supported = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert cells["python"] == supported
    assert len(list(product(cells["os"], cells["python"], cells["extra"]))) == 18
    assert set(cells["extra"]) <= set(PROJECT["optional-dependencies"])


def test_every_step_of_the_workflow_does_something():
    jobs = read(".github/workflows/ci.yml")["jobs"]
    assert jobs.keys() == {"lint", "tests", "build", "tutorial"}
    for job in jobs.values():
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in job["steps"] if "uses" in step)


def test_the_hooks_run_the_pinned_ruff():
    pins = re.findall(r"^ruff==.*$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    hooks = {hook["id"]: hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]}
    assert hooks["ruff-check"]["additional_dependencies"] == hooks["ruff-format"]["additional_dependencies"] == pins


def test_the_citation_names_this_version():
    citation = read("CITATION.cff")
    assert citation["version"] == __version__ and citation["license"] == PROJECT["license"]


def test_every_form_asks_for_something():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text("utf-8"))
        if path.name != "config.yml":
            fields = [field for field in form["body"] if field["type"] != "markdown"]
            assert form["name"] and form["description"] and fields
            assert len({field["id"] for field in fields}) == len(fields)
