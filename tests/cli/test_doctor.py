"""`echobank doctor`: what it finds, what it says to do, and that a broken part ends nothing."""

import json
import os
import subprocess
import sys

import pytest

from echobank.cli import checks, main
from echobank.cli.checks import MISSING, OK, PROBLEM, Check


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHOBANK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def found(capsys):
    return {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}


def test_every_part_is_looked_at_and_one_score_is_made(empty_cache, capsys):
    assert main(["doctor", "--json"]) == 0
    parts = found(capsys)
    assert {"echobank", "Python", "processor", "encoders", "ffmpeg", "microphones", "disk here"} <= set(parts)
    assert parts["tiny score"]["state"] == OK and parts["tiny score"]["text"].startswith("logmel_stats: ")
    assert parts["weights"] == {
        "name": "weights",
        "state": MISSING,
        "text": f"none in {empty_cache}",
        "hint": "echobank weights soundnet fetches 54 MB; echobank weights lists them all",
    }
    assert not empty_cache.exists()  # nothing was downloaded or written


def test_what_is_missing_comes_with_the_command_that_brings_it(empty_cache, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(empty_cache))
    monkeypatch.setattr(checks, "_installed", lambda name: name != "alembic")
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("missing  ffmpeg") and "apt-get install ffmpeg" in line for line in lines)
    serve = [line for line in lines if line.startswith("missing  [serve]")]
    assert not serve or ("without alembic" in serve[0] and "pip install 'echobank[serve]'" in serve[0])


def test_a_part_that_breaks_is_a_problem_and_the_others_go_on(monkeypatch, capsys):
    def broken():
        raise OSError("libportaudio.so: bad magic\nnumber")
        yield

    def well():
        yield Check("disk here", OK, "free")

    monkeypatch.setattr(checks, "_microphones", broken)
    monkeypatch.setattr(checks, "_disk", well)
    assert main(["doctor", "--json"]) == 3
    parts = found(capsys)
    assert parts["microphones"]["state"] == PROBLEM
    assert parts["microphones"]["text"] == "OSError: libportaudio.so: bad magic number"
    assert parts["disk here"]["text"] == "free" and "tiny score" in parts


def test_it_works_without_torch(empty_cache):
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom echobank.cli import main\nsys.exit(main(['doctor', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    parts = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert parts["torch"]["hint"] == "pip install 'echobank[beats]'" and parts["tiny score"]["state"] == OK


def test_colours_are_for_terminals(monkeypatch):
    from echobank.cli import terminal

    assert terminal.coloured("ok", "green") == "ok"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.coloured("ok", "green") == "\x1b[32mok\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.coloured("ok", "green") == "ok"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("echobank xyz", set()),
        ("echobank che", {"checkup "}),
        ("echobank wat", {"watch "}),
        ("echobank weights --ca", {"--cache "}),
        ("echobank bank und", {"undo "}),
        ("echobank score --de", {"--device "}),
    ],
)
def test_the_shell_completes_commands_and_options(line, wanted, tmp_path):
    pytest.importorskip("argcomplete")
    answer = tmp_path / "answer"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_SUPPRESS_SPACE": "0",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "IFS": "\013",
    }
    subprocess.run([sys.executable, "-m", "echobank"], env=environment, check=True, timeout=60)
    said = {part for part in answer.read_text().split("\013") if part}
    assert {part.strip() for part in said} == {part.strip() for part in wanted}
