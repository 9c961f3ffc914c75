"""`echobank finetune` as a person runs it: all machines, a handful of clips, merge, bad input."""

import pytest

from echobank.cli import main
from echobank.detection.bank import load_bank

from .conftest import write_tones


@pytest.fixture
def options(checkpoint, root, tmp_path):
    settings = {
        "model.embedding": checkpoint,
        "data.root": root,
        "data.cache": tmp_path / "cache",
        "output.dir": tmp_path / "out",
        "model.k": 1,
        "finetune.rank": 2,
        "finetune.alpha": 2.0,
        "finetune.steps": 4,
        "finetune.batch_size": 4,
        "finetune.seconds": 0.7,
        "finetune.checkpoint_every": 2,
    }
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def test_fine_tune_bank_and_merge(options, tmp_path, capsys):
    assert main(["finetune", *options]) == 0
    told = capsys.readouterr().out
    assert "labels, 24 clips learned from" in told and "frozen" in told
    adapter = tmp_path / "out/finetune/adapter.safetensors"
    assert f"wrote {adapter}" in told
    assert main(["train", *options, "--set", f"weights.adapter={adapter}"]) == 0
    assert main(["finetune", "--merge", str(adapter), "--out", str(tmp_path / "tuned.pt")]) == 0
    merged = [*options, "--set", f"model.embedding={tmp_path / 'tuned.pt'}", "--set", f"output.dir={tmp_path / 'm'}"]
    assert main(["train", *merged]) == 0
    one, two = (load_bank(tmp_path / folder / "banks/fan_section_00.safetensors") for folder in ("out", "m"))
    assert abs(one.vectors - two.vectors).max() < 1e-5


@pytest.mark.parametrize("lora", [True, False])
def test_a_handful_of_clips(options, tmp_path, capsys, lora):
    assert main(["train", *options]) == 0
    before = load_bank(tmp_path / "out/banks/fan_section_00.safetensors")
    for number in range(4):
        write_tones(tmp_path, "new", f"clip{number}.wav", 900, 50 + number)
    capsys.readouterr()
    words = ["--machine", "fan", "--clips", str(tmp_path / "new"), *([] if lora else ["--no-lora"])]
    assert main(["finetune", *options, *words]) == 0
    told = capsys.readouterr().out
    assert ("fine-tuned" in told) == lora
    assert "kept " in told and "next is" in told and all(way in told for way in ("nothing", "added", "enlarged"))
    kept = load_bank(tmp_path / "out/banks/fan_section_00.before.safetensors")
    assert (kept.vectors == before.vectors).all()
    after = load_bank(tmp_path / "out/banks/fan_section_00.safetensors")
    assert len(after) >= len(before) and after.header.scoring


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--machine", "fan"], "--clips goes with --machine"),
        (["--merge", "x"], "--merge with --out"),
        (["--merge", "x", "--out", "y.pt"], "no such adapter"),
        (["--machine", "fan", "--clips", "nowhere"], "cannot read the bank"),
    ],
)
def test_bad_input_is_one_line(options, capsys, words, message):
    assert main(["finetune", *options, *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
