"""Deciding again: the decisions that inferring at that rate would have made, and nothing else changes."""

from echobank.cli import main


def decisions(outputs):
    return {name: content for name, content in outputs.items() if name.endswith(".csv")}


def test_it_is_what_infer_would_have_decided_and_fits_nothing(own_project, capsys, monkeypatch):
    settings = ("decision.method=pooled", "decision.false_alarm_rate=0.4")
    assert own_project.all(*settings) == [0, 0, 0]
    wanted = own_project.outputs()
    assert own_project.all("decision.method=gamma", "decision.false_alarm_rate=0.01") == [0, 0, 0]
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
