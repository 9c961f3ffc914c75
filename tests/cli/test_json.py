"""`--json`: what a table says to people, as one JSON object for programs."""

import json
import shutil

from echobank.cli import main
from tests.machines.sounds import hum, with_tone, write


def said(capsys, *words, code=0):
    capsys.readouterr()
    assert main([str(word) for word in words]) == code
    return json.loads(capsys.readouterr().out)


def test_weights(tmp_path, capsys):
    listed = said(capsys, "weights", "--json", "--cache", tmp_path)
    cards = {card["name"]: card for card in listed["encoders"]}
    assert cards["level"]["state"] == "needs no weights" and cards["soundnet"]["state"] == "not fetched"
    (tmp_path / "soundnet.safetensors").write_bytes(b"converted")  # what fetching SoundNet leaves behind
    cards = {card["name"]: card for card in said(capsys, "weights", "--json", "--cache", tmp_path)["encoders"]}
    assert cards["soundnet"]["state"] == "here" and len(cards["soundnet"]["sha256"]) == 64


def test_evaluate_prints_what_it_writes(tmp_path, capsys):
    rows = [
        f"section_00_{domain}_test_{kind}_{i:04d}.wav,{i}.5"
        for i, (domain, kind) in enumerate(
            [("source", "normal"), ("target", "normal"), ("source", "anomaly"), ("target", "anomaly")]
        )
    ]
    (tmp_path / "anomaly_score_fan_section_00_test.csv").write_text("\n".join(rows) + "\n")
    facts = said(capsys, "evaluate", "--results", tmp_path, "--json")
    assert facts["official_score"] == 1.0
    assert facts == json.loads((tmp_path / "evaluation.json").read_text())


def test_the_difference_of_two_banks(bank, tmp_path, capsys):
    other = shutil.copytree(bank, tmp_path / "other")
    write(tmp_path / "more.wav", hum(4.0, seed=77))
    assert main(["bank", "add", str(other), str(tmp_path / "more.wav")]) == 0
    facts = said(capsys, "bank", "diff", bank, other, "--json")
    assert facts["removed"] == [] and [name for name in facts["added"] if "more.wav" in name]
    assert len(facts["thresholds"]) == 2


def test_score_prints_json_lines_with_the_values_of_the_csv(bank, tmp_path, capsys):
    write(tmp_path / "day.wav", hum(4.0, seed=100))
    write(tmp_path / "odd.wav", with_tone(hum(4.0, seed=101), 1, 3))
    capsys.readouterr()
    assert main(["score", str(bank), str(tmp_path / "day.wav"), str(tmp_path / "odd.wav"), "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["score", str(bank), str(tmp_path), "--out", str(tmp_path / "table.jsonl")]) == 1
    assert lines == [json.loads(line) for line in (tmp_path / "table.jsonl").read_text().splitlines()]
    assert {line["decision"] for line in lines if line["file"].endswith("odd.wav")} >= {1}


def test_microphones(capsys):
    listed = said(capsys, "listen", "--list", "--json")["microphones"]
    assert all(set(device) == {"index", "name", "channels", "rate"} for device in listed)
