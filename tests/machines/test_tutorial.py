"""The tutorial runs as it is written, from its first line to its last."""

import re
import shlex
from pathlib import Path

from echobank.cli import main

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_every_step_of_the_tutorial(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"```(python|sh)\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    assert len(blocks) >= 7
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, str(TUTORIAL), "exec"), names)
            continue
        for line in text.splitlines():
            command, _, code = line.partition("  # exit code ")
            words = shlex.split(command)
            assert words[0] == "echobank"
            assert main(words[1:]) == int(code or 0), capsys.readouterr()
    said = capsys.readouterr().out
    assert "support a false-alarm rate of 4 %" in said
    assert "dB louder than similar healthy sound" in said
    assert '"kind": "open"' in said
    assert {"today.csv", "today.html", "events.csv"} <= {path.name for path in tmp_path.iterdir()}
