"""Guides, README and how-to: commands parse, files and links that are named exist, how-to answers run."""

import argparse
import re
import shutil
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

from echobank.cli import COMMANDS, main
from tests.docs.pages import DOCS, ROOT, blocks, pages, words_of
from tests.machines.sounds import RATE, hum, with_tone, write
from tests.requirements import needs

EXPLAINED = re.compile(r" {2,}[a-z].*$")  # "echobank fit FOLDER      what it sounds like"


def commands():
    """Return every command of every page, with where it stands."""
    found = []
    for page in pages():
        for block in blocks(page):
            for command in block.commands:
                place = f"{page.relative_to(ROOT)}:{block.line}"
                found.append(pytest.param(EXPLAINED.sub("", command), id=f"{place} {command[9:40]}"))
    return found


@pytest.mark.parametrize("command", commands())
def test_every_command_of_a_page_has_the_options_that_it_is_shown_with(command, capsys):
    name, *words = words_of(command)
    if name in ("--version", "--help"):
        return
    assert name in COMMANDS, f"no such command: {name}"
    parser = argparse.ArgumentParser(prog=f"echobank {name}")
    import_module(f"echobank.cli.{name}").add_arguments(parser)
    try:
        parser.parse_args([_example(word) for word in words])
    except SystemExit as stop:
        assert stop.code == 0, capsys.readouterr().err


def _example(word):
    """Return a word that a parser takes in place of a placeholder."""
    return {"RATE": "0.05", "N": "1", "TIME": "1h", "REGEX": "x"}.get(word, word)


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()])
def test_every_file_that_a_page_names_is_there(page):
    text = page.read_text("utf-8")
    named = set(re.findall(r"\b((?:scripts|benchmarks|configs|examples|tests)/[\w/-]+\.(?:py|yaml|md))\b", text))
    assert not [name for name in named if not (ROOT / name).is_file()]
    links = re.findall(
        r"\]\((?!https?:|mailto:|#)([^)\s#]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    )
    made = {"reference/commands.md", "reference/settings.md", "commands.md", "settings.md", "../reference/settings.md"}
    assert not [link for link in links if link not in made and not (page.parent / link).exists()]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder with what the how-to page starts from."""
    root = tmp_path_factory.mktemp("howto")
    for i in range(24):
        write(root / "healthy" / f"{i:02d}.wav", hum(4.0, seed=i))
    for i in range(12):
        write(root / "by-speed" / f"{25 + 5 * (i % 3)}" / f"{i}.wav", hum(4.0, seed=i, speed=25 + 5 * (i % 3)))
        write(root / "stereo" / f"{i}.wav", _two(hum(4.0, seed=i), hum(4.0, seed=100 + i, gain=0.1)))
    write(root / "today" / "0900.wav", hum(4.0, seed=100))
    write(root / "today" / "1000.wav", with_tone(hum(4.0, seed=101), 1.0, 2.5))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("ECHOBANK_CACHE", str(root / "weights"))
        patch.setenv("PIP_NO_INDEX", "1")
        assert main(["fit", "healthy", "--machine", "pump7", "--window", "2s"]) == 0
        shutil.copytree("banks/pump7", "copy/pump7")
        small = "--train-source 12 --train-target 3 --test 4 --supplemental 2 --seconds 2 --workers 1"
        assert main(["synth", "--out", "dcase", "--machines", "fan", *small.split()]) == 0
    return root


def _two(left, right):
    return np.stack([left, right], axis=1)


def test_every_answer_of_the_how_to_page(workshop, monkeypatch, capsys):
    monkeypatch.chdir(workshop)
    monkeypatch.setenv("ECHOBANK_CACHE", str(workshop / "weights"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    ran = 0
    for block in blocks(DOCS / "howto.md"):
        if block.needs or block.language not in ("sh", "python"):
            continue
        if block.language == "python":
            exec(compile(block.text, f"howto.md:{block.line}", "exec"), {})
            continue
        for command in block.text.splitlines():
            _, _, code = command.partition("  # exit code ")
            got = main(words_of(command))
            assert got == int(code or 0), (block.line, command, capsys.readouterr())
            ran += 1
    assert ran >= 25


def test_the_how_to_page_has_twenty_answers():
    titles = re.findall(r"^## (.*)$", (DOCS / "howto.md").read_text("utf-8"), re.MULTILINE)
    assert len(titles) == len(set(titles)) >= 20


@needs("mkdocs")
def test_the_site_builds_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    built = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "howto.html", "reference/commands.html", "reference/settings.html"} <= built
    start = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert not re.findall(r'(?:src|href)="(https?://(?!echobank)[^"]+\.(?:js|css|woff2?))"', start)
    commands_page = (tmp_path / "site" / "reference" / "commands.html").read_text("utf-8")
    assert all(f"echobank {name}" in commands_page for name in COMMANDS)


def test_every_piece_of_the_page_on_extending_runs(tmp_path, monkeypatch, capsys):
    from echobank import Detector
    from echobank.detection.backends import BACKENDS
    from echobank.models.registry import LOADERS
    from echobank.models.weights.cards import CARDS

    monkeypatch.setattr("echobank.detection.backends.BACKENDS", dict(BACKENDS))
    monkeypatch.setattr("echobank.models.registry.LOADERS", dict(LOADERS))
    monkeypatch.setattr("echobank.models.registry.CARDS", dict(CARDS))
    pieces = [block for block in blocks(DOCS / "extending.md") if block.language == "python"]
    assert len(pieces) == 5
    names = {}
    monkeypatch.chdir(tmp_path)
    for piece in pieces:
        exec(compile(piece.text, f"extending.md:{piece.line}", "exec"), names)
    for settings in (["scoring.backend=centre_distance", "model.embedding=logmel_stats"],
                     ["scoring.metric=euclidean", "model.embedding=zero_crossings"]):  # fmt: skip
        detector = Detector("m", seconds=2.0, settings=settings).fit_samples(
            [hum(4.0, seed=i) for i in range(12)], RATE
        )
        healthy = detector.score_samples(hum(4.0, seed=50), RATE)
        odd = detector.score_samples(with_tone(hum(4.0, seed=50), 0, 4, level=0.3), RATE)
        assert min(v.score for v in odd) > max(v.score for v in healthy)
    assert names["watch"].ended and "no event is open" in capsys.readouterr().out
    lamp = names["Blinker"]()
    for kind, lit in (("score", False), ("open", True), ("heartbeat", True), ("close", False)):
        lamp.send([SimpleNamespace(kind=kind)])
        assert lamp.on is lit
