"""The frame of the command line: version, help, unknown commands, exit codes."""

import re
import subprocess
import sys
import types
from importlib import import_module
from pathlib import Path

import pytest

import echobank
from echobank import cli
from echobank.errors import AudioError


@pytest.mark.parametrize(
    "program", [["-m", "echobank"], ["-c", "import sys; from echobank.cli import main; sys.exit(main())"]]
)
def test_version_is_the_same_program_and_needs_no_torch(program):
    done = subprocess.run([sys.executable, *program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"echobank {echobank.__version__}\n"


def test_importing_the_package_imports_no_heavy_library():
    code = "import sys, echobank, echobank.cli; print({'torch', 'numpy', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert f"echobank {command}" in capsys.readouterr().out


def test_a_misspelt_command_names_the_nearest(capsys):
    assert cli.main(["infr"]) == 2
    assert "did you mean infer?" in capsys.readouterr().err


def test_without_a_command_help_is_shown(capsys):
    assert cli.main([]) == 2
    first = capsys.readouterr().out
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    listed = re.findall(r"^  (\w+)", said, re.MULTILINE)
    assert listed == list(cli.COMMANDS) and len(set(listed)) == len(listed)
    assert "your own machines:" in said and said == first


def test_every_command_is_a_module_and_every_module_a_command_or_a_helper():
    modules = {path.stem for path in Path(cli.__file__).parent.glob("*.py")}
    assert set(cli.COMMANDS) <= modules
    runnable = {name for name in modules if hasattr(import_module(f"echobank.cli.{name}"), "run")}
    assert runnable == set(cli.COMMANDS)


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (
            AudioError("not audio", where="a.wav", hint="record again"),
            2,
            "echobank: a.wav: not audio; record again\n",
        ),
        (KeyboardInterrupt(), 130, "echobank: interrupted; run the same command again to continue\n"),
    ],
)
def test_errors_are_one_line(raised, code, line, capsys, monkeypatch):
    def run(args):
        raise raised

    module = types.SimpleNamespace(__doc__="", add_arguments=lambda parser: None, run=run)
    monkeypatch.setattr(cli, "import_module", lambda name: module)
    assert cli.main(["infer"]) == code
    err = capsys.readouterr().err
    assert err.startswith(line) and err.count("\n") == 1


def test_a_bug_is_a_traceback_and_an_exit_code_of_its_own(capsys, monkeypatch):
    def run(args):
        raise RuntimeError("boo\nm")

    module = types.SimpleNamespace(__doc__="", add_arguments=lambda parser: None, run=run)
    monkeypatch.setattr(cli, "import_module", lambda name: module)
    assert cli.main(["infer"]) == 70
    *trace, last = capsys.readouterr().err.splitlines()
    assert trace[0].startswith("Traceback") and any("in run" in line for line in trace)
    assert last == "echobank: a bug in echobank: RuntimeError: boo m; please report it with the lines above"
