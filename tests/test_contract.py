"""What others rely on stays: commands, options, exit codes, columns, file names, settings (tests/golden/before)."""

import json

import pytest

import echobank
from tests.golden.before import contract
from tests.golden.before.places import HERE
from tests.requirements import require

OLD = json.loads((HERE / "contract.json").read_text())


@pytest.fixture(scope="module")
def new():
    return json.loads(json.dumps(contract.statics()))


@pytest.fixture(scope="module")
def seen(places, tmp_path_factory):
    return contract.observed(places, tmp_path_factory.mktemp("contract") / "work")


def has(old, new, where):
    """Fail unless every key of old is in new with the same value; lists may have grown."""
    if isinstance(old, dict):
        for key, value in old.items():
            assert isinstance(new, dict) and key in new, f"{where}: {key} is gone"
            has(value, new[key], f"{where}, {key}")
    elif isinstance(old, list) and old and isinstance(old[0], dict):
        assert new, f"{where} is gone"
        has(old[0], new[0], where)
    else:
        assert old == new, f"{where}: {old!r} before, {new!r} now"


@pytest.mark.parametrize("command", OLD["commands"])
def test_options(command, new):
    assert command in new["commands"], f"{command} is gone"
    before, now = OLD["commands"][command], new["commands"][command]
    for name, facts in before.items():
        assert name in now, f"{command} {name} is gone"
        assert now[name]["kind"] == facts["kind"], f"{command} {name}: kind"
        wider = (
            {facts["nargs"], "*"} if facts["nargs"] == "+" else {facts["nargs"]}
        )  # what was given may still be given
        assert now[name]["nargs"] in wider, f"{command} {name}: nargs"
        assert facts["required"] or not now[name]["required"], f"{command} {name} must now be given"
        if isinstance(facts["default"], list) and facts["choices"] == [] and facts["nargs"] == "+":
            assert set(facts["default"]) <= set(now[name]["default"]), f"{command} {name}: default"
        else:
            assert now[name]["default"] == facts["default"], f"{command} {name}: default"
        assert not facts["choices"] or set(facts["choices"]) <= set(now[name]["choices"]), f"{command} {name}: choices"
    added = {name for name, facts in now.items() if facts["required"]} - set(before)
    assert not added, f"{command} cannot be called as before without {added}"


def test_names_and_exit_codes(new):
    assert set(OLD["exports"]) <= set(new["exports"])
    assert set(OLD["errors"]) <= set(new["errors"])
    has(OLD["exit_codes"], new["exit_codes"], "exit codes")
    assert callable(echobank.load_encoder) and callable(echobank.Detector)


# Defaults that are others now, on purpose (changelog); every setting is still there.
DECISION = {"false_alarm_rate": 0.1, "leave_out": "state", "method": "transport"}
DEMO = {"scoring": {"backend": "ldn", "metric": "cosine", "params": {"K": 16}}}


def test_settings(new):
    has({**OLD["settings"], "decision": DECISION}, new["settings"], "settings")
    configs = {name: {**config, "decision": DECISION} for name, config in OLD["configs"].items()}
    configs["demo"] |= DEMO | {"model": {**OLD["configs"]["demo"]["model"], "k": 1}}
    has(configs, new["configs"], "configs")


@pytest.mark.parametrize("part", ["run", "machine"])
def test_files(part, seen):
    gone = set(OLD["files"][part]) - set(seen["files"][part])
    assert not gone, f"no longer written: {sorted(gone)}"


def test_files_of_training(before, tmp_path):
    require("torch")
    gone = set(OLD["files"]["training"]) - set(contract.trained(before, tmp_path / "work"))
    assert not gone, f"no longer written: {sorted(gone)}"


@pytest.mark.parametrize("table", OLD["columns"])
def test_columns(table, seen):
    """New columns come after those of before."""
    old = OLD["columns"][table]
    assert seen["columns"][table][: len(old)] == old


@pytest.mark.parametrize("name", OLD["keys"])
def test_keys(name, seen):
    has(OLD["keys"][name], seen["keys"][name], name)


def test_exit_codes_of_commands(seen):
    assert len(OLD["exits"]) == len(seen["exits"]) >= 20
    for (words, code), (asked, now) in zip(OLD["exits"], seen["exits"], strict=True):
        assert (asked, now) == (words, code)
