"""Deciding again: the decisions that inferring at that rate would have made, and nothing else changes."""

import dataclasses
import json
import re

import pytest

from echobank.cli import main
from echobank.detection.bank import load_bank, save_bank
from echobank.detection.leave_one_out import SelfScores


def decisions(outputs):
    return {name: content for name, content in outputs.items() if name.endswith(".csv")}


def test_it_is_what_infer_would_have_decided_and_fits_nothing(own_project, capsys, monkeypatch):
    settings = ("decision.method=pooled", "decision.false_alarm_rate=0.4", "decision.leave_out=clip")
    assert own_project.all(*settings) == [0, 0, 0]
    wanted = own_project.outputs()
    assert own_project.all("decision.method=gamma", "decision.false_alarm_rate=0.01", settings[2]) == [0, 0, 0]
    before = own_project.outputs()
    assert decisions(before) != decisions(wanted)
    monkeypatch.setattr("echobank.detection.backends.make_backend", None)
    words = ["decide", "--results", str(own_project.results), "--method", "pooled", "--far"]
    assert main([*words, "0.4"]) == 0
    after = own_project.outputs()
    assert decisions(after) == decisions(wanted)
    assert {n for n in after if after[n] != before[n]} <= set(decisions(after))
    out = capsys.readouterr().out
    assert "asked 40 %" in out and "n = " in out


def test_a_rate_that_so_few_clips_do_not_support_changes_nothing(own_project, capsys):
    assert own_project.all() == [0, 0, 0]
    before = own_project.outputs()
    assert main(["decide", "--results", str(own_project.results), "--far", "0.0001"]) == 2
    assert "1/(n+1)" in capsys.readouterr().err and own_project.outputs() == before
    (own_project.results / "banks" / "fan_section_00.safetensors").unlink()
    assert main(["decide", "--results", str(own_project.results), "--far", "0.5"]) == 2


def decide(project, *words):
    return main(["decide", "--results", str(project.results), *words])


def test_it_prints_clips_rate_interval_threshold_and_calls_of_each_domain(own_project, capsys):
    assert own_project.all() == [0, 0, 0]
    capsys.readouterr()
    assert decide(own_project, "--far", "0.2") == 0
    out = capsys.readouterr().out
    assert re.search(r"fan section 00: \d+ of 12 clips called anomalous", out)
    assert decide(own_project, "--far", "0.2", "--json") == 0
    machine = json.loads(capsys.readouterr().out)["machines"][0]
    assert machine["key"] == ["fan", "00"] and machine["clips"] == 12
    assert f"threshold {machine['thresholds'][0]['value']:.6g}" in out
    for domain, n in (("source", 8), ("target", 4)):
        line = rf"{domain}: n = {n}, asked 20 %, true rate \d+\.\d to \d+\.\d %, threshold \d\.\d+"
        assert re.search(line, out)
    assert "quantile assumes" in out
    called = sum(
        line.endswith(",1")
        for path in own_project.results.glob("decision_result_*.csv")
        for line in path.read_text().split()
    )
    assert f": {called} of 12" in out


def test_a_few_clips_are_refused_a_rate_that_transport_gives_them(own_project, capsys):
    assert own_project.all() == [0, 0, 0]
    assert decide(own_project, "--far", "0.12") == 2
    assert "4 normal clips of domain target support a false-alarm rate of 1/(n+1) = 0.2" in capsys.readouterr().err
    assert decide(own_project, "--far", "0.12", "--method", "transport") == 0
    out = capsys.readouterr().out
    assert "target: n = 4, asked 12 %" in out and "transport assumes" in out


@pytest.mark.parametrize("method", ["gamma", "quantile", "pooled", "transport"])
def test_states_left_out_decide_as_inferring_with_them_does_stored_or_not(own_project, capsys, method):
    settings = (f"decision.method={method}", "decision.false_alarm_rate=0.4", "decision.leave_out=state")
    assert own_project.all(*settings) == [0, 0, 0]
    wanted = decisions(own_project.outputs())
    again = ("--far", "0.4", "--method", method, "--leave-out", "state")
    assert decide(own_project, "--far", "0.7") == 0 == decide(own_project, *again)
    assert decisions(own_project.outputs()) == wanted
    path = own_project.results / "banks" / "fan_section_00.safetensors"
    bank = load_bank(path)
    save_bank(dataclasses.replace(bank, own=SelfScores(bank.own.scores)), path)
    assert decide(own_project, "--far", "0.7") == 0 == decide(own_project, *again)
    assert decisions(own_project.outputs()) == wanted
    assert "in 2 states" in capsys.readouterr().out


def test_a_bank_that_remembers_no_scores_is_an_error_that_says_so(own_project, capsys):
    assert own_project.all() == [0, 0, 0]
    path = own_project.results / "banks" / "fan_section_00.safetensors"
    bank = load_bank(path)
    header = dataclasses.replace(bank.header, scoring=None)
    for bare in ({"own": None}, {"own": None, "header": header}, {"header": header}):
        save_bank(dataclasses.replace(bank, **bare), path)
        assert decide(own_project, "--far", "0.4") == 2
        assert "train again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rate", "decision", "says"),
    [
        ("0.2", ("decision.leave_out=clip",), "the bank holds one operating state"),
        ("0.05", ("decision.method=gamma", "decision.leave_out=clip"), "clips support no false-alarm rate of 0.05"),
    ],
)
def test_the_default_falls_back_where_a_machine_has_one_state_and_train_and_infer_say_so(
    own_project, capsys, rate, decision, says
):
    for path in own_project.root.rglob("*_spd_1.wav"):
        other = path.with_name(path.name.replace("spd_1", "spd_0"))
        path.rename(other)
    asked = f"decision.false_alarm_rate={rate}"
    assert own_project.run("preprocess", asked) == 0
    for command in ("train", "infer"):
        capsys.readouterr()
        assert own_project.run(command, asked) == 0
        (line,) = [line for line in capsys.readouterr().err.splitlines() if says in line]
        assert "fan_section_00.safetensors" in line
    fallen = own_project.outputs()
    capsys.readouterr()
    assert own_project.all(asked, *decision) == [0, 0, 0]
    assert says not in capsys.readouterr().err
    assert decisions(own_project.outputs()) == decisions(fallen)
