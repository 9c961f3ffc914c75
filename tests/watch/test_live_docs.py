"""docs/live.md: the unit is one that systemd takes, and the options that it names exist."""

import argparse
import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "live.md").read_text(encoding="utf-8")


def test_the_unit_is_taken_by_systemd(tmp_path):
    verify = shutil.which("systemd-analyze") or pytest.skip("no systemd: apt-get install systemd")
    (unit,) = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    program = re.search(r"ExecStart=(\S+)", unit)[1]
    path = tmp_path / "echobank-pump7.service"
    path.write_text(unit.replace(program, "/bin/true"))
    done = subprocess.run([verify, "verify", str(path)], capture_output=True, text=True)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "pump7" in line]
    assert done.returncode == 0 and ours == []
    path.write_text(unit)
    done = subprocess.run([verify, "verify", str(path)], capture_output=True, text=True)
    assert f"{program} is not executable" in done.stdout + done.stderr  # it does look


def test_every_option_of_the_page_exists():
    known = {"--verify", "--now"}
    for command in ("listen", "watch", "mute", "bank", "fit"):
        parser = argparse.ArgumentParser()
        import_module(f"echobank.cli.{command}").add_arguments(parser)
        parsers = [parser]
        for action in parser._actions:
            parsers += getattr(action, "choices", None).values() if isinstance(action.choices, dict) else []
        known |= {option for one in parsers for action in one._actions for option in action.option_strings}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE))
    assert named - known == set() and len(named) > 25
