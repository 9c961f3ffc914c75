r"""Names of files that are not UTF-8, as on cards written by old recorders, go through every way out."""

import csv
import json
import os
import shutil
import subprocess
import sys

import pytest

from echobank.cli import main
from echobank.machines.archive import bank_file
from echobank.names import printable, to_json
from tests.machines.sounds import healthy_folder, hum, with_tone, write
from tests.requirements import needs

pytestmark = needs("linux")  # other file systems take names in UTF-8 only
NAME = os.fsdecode(b"pr\xfcfung.wav")  # Latin-1
PRINTED = r"pr\udcfcfung.wav"


@pytest.fixture
def named(fitted, tmp_path):
    """Return a folder with one such recording, which is anomalous."""
    folder = tmp_path / "in"
    write(folder / "b.wav", hum(2.0, seed=100))
    source = write(tmp_path / "a.wav", with_tone(hum(6.0, seed=101), 0.0, 6.0))
    shutil.copy(source, folder / NAME)
    return folder


def run(*words):
    """Run a command in a process of its own, with a standard output that takes UTF-8 only, and return it."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    code = (
        "import echobank.machines.fit as f, sys; f.MACHINE_DEFAULTS = ('model.embedding=logmel_stats', 'model.k=1')\n"
        "from echobank.cli import main; sys.exit(main())"
    )
    words = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(words, capture_output=True, env=environment, timeout=120, check=False)


def test_text_that_utf8_can_hold_stays_as_it_is():
    assert printable("Prüfung 測試 \n") == "Prüfung 測試 \n" and to_json({"a": "ü"}) == '{"a": "ü"}'
    assert printable(NAME) == PRINTED and json.loads(to_json(NAME)) == NAME
    assert to_json("ü", "ascii") == r'"\u00fc"'


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_score_takes_it_in_every_table_and_on_the_page(fitted, named, tmp_path, kind):
    table, page = tmp_path / f"t.{kind}", tmp_path / "page.html"
    done = run("score", fitted / "banks" / "pump", named, "--out", table, "--report", page)
    assert done.returncode == 1 and b"bug" not in done.stderr
    assert PRINTED in page.read_text(encoding="utf-8")
    if kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        assert any(PRINTED in file for file in parquet.read_table(table)["file"].to_pylist())
    else:
        assert PRINTED in table.read_text(encoding="utf-8")


def test_score_and_explain_print_it(fitted, named):
    bank = fitted / "banks" / "pump"
    done = run("score", bank, named)
    assert done.returncode == 1 and PRINTED in done.stdout.decode("utf-8")
    for more in ((), ("--json",)):
        done = run("explain", bank, named / NAME, *more)
        assert done.returncode == 0 and b"bug" not in done.stderr
    assert json.loads(done.stdout)["file"].endswith(NAME)


def test_a_bank_remembers_it_and_finds_it_again(named, tmp_path, fitted):
    healthy_folder(named, 3, 2.0)
    shutil.copy(named / NAME, named / "copy.wav")
    done = run("fit", named, "--machine", "m", "--out", tmp_path, "--window", "1s")
    assert done.returncode == 0, done.stderr
    assert f"copy.wav and {PRINTED}" in done.stdout.decode() or f"{PRINTED} and copy.wav" in done.stdout.decode()
    for words in (["info", "--rows"], ["info", "--rows", "--json"], ["remove", "b.wav"]):
        done = run("bank", words[0], tmp_path / "m", *words[1:])
        assert done.returncode == 0 and b"bug" not in done.stderr
    done = run("explain", tmp_path / "m", named / NAME)
    assert done.returncode == 0 and b"not at hand" not in done.stdout
    assert bank_file(tmp_path / "m").exists()


def test_watch_takes_it_and_goes_on_to_the_next(fitted, named, tmp_path):
    words = ["watch", fitted / "banks" / "pump", named, "--once", "--settle", "1ms", "--poll", "5ms", "--k-of-n", "1/1"]
    words += ["--state", tmp_path / "s", "--csv", tmp_path / "rows.csv", "--heartbeat", "1ms"]
    done = run(*words)
    assert done.returncode == 0 and b"bug" not in done.stderr
    lines = [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()]
    assert {line["file"] for line in lines if line["kind"] == "score"} == {PRINTED, "b.wav"}
    assert any(line["kind"] == "open" and line["file"] == PRINTED for line in lines)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as stream:
        assert {row["file"] for row in csv.DictReader(stream)} == {PRINTED, "b.wav"}
    again = run(*words)
    kinds = {json.loads(line)["kind"] for line in again.stdout.decode("utf-8").splitlines()}
    assert again.returncode == 0 and kinds <= {"heartbeat"}


def test_a_machine_cannot_be_called_so(tmp_path, fitted, capsys):
    with pytest.raises(SystemExit):
        main(["fit", str(fitted / "healthy"), "--machine", NAME.removesuffix(".wav"), "--out", str(tmp_path)])
    assert "not a name in UTF-8" in capsys.readouterr().err
