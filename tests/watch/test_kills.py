"""Killed at random moments, nothing is lost, doubled or half written: the benchmark with 200 kills, in small."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_test.py"


@pytest.mark.slow
def test_a_few_kills_break_nothing():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT, "--kills", "12", "--seed", "7"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
