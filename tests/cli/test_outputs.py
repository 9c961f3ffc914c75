"""No option of any command writes over a recording, a bank or anything else that the command reads."""

import argparse
import shutil
from importlib import import_module

import pytest

from echobank.cli import COMMANDS, main
from tests.machines.sounds import hum, write

# What every option that names an output file is called, and the commands that have it. A folder is no file: what is
# written into the folders of fit, distil, export, synth and download ends as no recording does, or is their own.
FILES = {
    ("score", "--out"),
    ("score", "--report"),
    ("explain", "--report"),
    ("watch", "--csv"),
    ("listen", "--csv"),
    ("evaluate", "--out"),
    ("report", "--out"),
    ("finetune", "--out"),
    ("trend", "--out"),
    ("checkup", "--report"),
}
FOLDERS = {("fit", "--out"), ("distil", "--out"), ("export", "--out"), ("synth", "--out"), ("download", "--root")}


def test_every_option_that_names_an_output_is_in_this_test():
    found = set()
    for command in COMMANDS:
        parser = argparse.ArgumentParser()
        import_module(f"echobank.cli.{command}").add_arguments(parser)
        options = {option for action in parser._actions for option in action.option_strings}
        found |= {(command, option) for option in options & {"--out", "--report", "--csv", "--root", "--page"}}
    assert found == FILES | FOLDERS


@pytest.fixture
def there(bank, tmp_path):
    """Return a folder with a recording, a bank, a score table and an adapter, and their bytes."""
    write(tmp_path / "today" / "0900.wav", hum(2.0, seed=100))
    shutil.copy(tmp_path / "today" / "0900.wav", tmp_path / "today" / "1000.flac")
    scores = tmp_path / "run" / "anomaly_score_fan_section_00_test.csv"
    scores.parent.mkdir()
    scores.write_text(
        "".join(f"section_00_source_test_{kind}_0000.wav,0.{i}\n" for i, kind in ((1, "normal"), (9, "anomaly")))
    )
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "a.pt").write_bytes(b"an adapter")
    return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def words(command, option, place, folder):
    today, bank = str(folder / "today" / "0900.wav"), str(folder / "banks" / "pump")
    return {
        "score": ["score", bank, today, option, place],
        "explain": ["explain", bank, today, option, place],
        "watch": ["watch", bank, str(folder / "today"), "--once", "--state", str(folder / "s"), option, place],
        "listen": ["listen", bank, "-", "--state", str(folder / "s"), option, place],
        "evaluate": ["evaluate", "--results", str(folder / "run"), option, place],
        "report": ["report", "--results", str(folder / "run"), option, place],
        "finetune": ["finetune", "--merge", str(folder / "a.pt"), option, place],
        "trend": ["trend", bank, option, place],
        "checkup": ["checkup", bank, option, place],
    }[command]


@pytest.mark.parametrize(("command", "option"), sorted(FILES))
@pytest.mark.parametrize("place", ["today/0900.wav", "today/1000.flac", "today", "banks/pump/bank.safetensors"])
def test_a_recording_a_bank_and_a_folder_are_never_written_over(there, tmp_path, capsys, command, option, place):
    assert main(words(command, option, str(tmp_path / place), tmp_path)) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"echobank: {option} names a file") or "unknown kind of table" in err
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in there} == there


def test_a_pattern_of_the_shell_after_report_costs_no_recording(there, tmp_path, capsys):
    pattern = sorted(map(str, (tmp_path / "today").iterdir()))
    assert main(["score", str(tmp_path / "banks" / "pump"), "--report", *pattern]) == 2
    assert "give it one name, for example --report 0900.html" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in there} == there


@pytest.mark.parametrize(
    "asked",
    [
        ["evaluate", "--results", "run", "--out", "run/anomaly_score_fan_section_00_test.csv"],
        ["evaluate", "--results", "run", "--out", "run/run.csv"],  # run.json would go next to it
        ["finetune", "--merge", "a.pt", "--out", "link.pt"],
        ["distil", "--teacher", "soundnet+w/beats_tiny.pt", "--out", "w"],
        ["score", "banks/pump", "notes.csv", "--out", "notes.csv"],
    ],
)
def test_what_a_command_reads_is_not_written_over_under_any_name(there, tmp_path, capsys, monkeypatch, asked):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.pt").symlink_to("a.pt")
    (tmp_path / "w").mkdir()
    for name in ("w/beats_tiny.pt", "notes.csv"):
        (tmp_path / name).write_bytes(b"mine")
    assert main(asked) == 2
    assert "--out would overwrite a file that the command reads" in capsys.readouterr().err
    assert (tmp_path / "w" / "beats_tiny.pt").read_bytes() == (tmp_path / "notes.csv").read_bytes() == b"mine"
    assert {path: path.read_bytes() for path in there} == there


def test_rows_are_appended_to_a_table_of_the_same_columns_only(there, tmp_path, capsys):
    mine = tmp_path / "tags.csv"
    mine.write_text("file,load\na.wav,1\n")
    asked = words("watch", "--csv", str(mine), tmp_path)
    assert main(asked) == 2
    assert "--csv appends to a table with other columns" in capsys.readouterr().err
    mine.unlink()
    for _ in range(2):
        assert main([*asked, "--quiet", "--settle", "1ms", "--poll", "5ms"]) == 0
    assert mine.read_text().startswith("id,kind,machine")
