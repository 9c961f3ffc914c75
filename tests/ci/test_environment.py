"""The rules of an environment, held against sessions of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.recordings import recordings
from tests.ci.environment import FILE, Environment, read_environment
from tests.requirements import NEEDS, REASONS, require

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

def test_runs(): pass
def test_runs_too(): pass
@pytest.mark.xfail(strict=True)
def test_known(): raise ValueError
@pytest.mark.skipif(True, reason="no Ray: pip install 'ray[data]'")
def test_ray(): pass
"""


def session(folder, tests, minimum, *options, allowed='["no Ray"]'):
    """Run tests in an environment of their own; return the exit code and what was printed."""
    (folder / "conftest.py").write_text(
        "from tests.ci.environment import Environment, Strict\n"
        "def pytest_configure(config):\n"
        "    if not hasattr(config, 'workerinput'):\n"
        f"        config.pluginmanager.register(Strict('here', Environment(allowed={allowed}, minimum={minimum})))\n"
    )
    (folder / "test_it.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}", "-c", os.devnull]
    done = subprocess.run([*command, *options, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_an_allowed_reason_and_enough_tests_pass(tmp_path, options):
    code, out = session(tmp_path, TESTS, 4, *options)
    assert code == 0, out
    assert "3 ran, 1 skipped for a reason that is allowed here, at least 4 wanted" in out


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_another_reason_fails_in_a_test_and_in_a_module(tmp_path, options):
    code, out = session(tmp_path, TESTS + "@pytest.mark.skip(reason='no time')\ndef test_x(): pass\n", 1, *options)
    assert code == 1 and "not allowed to skip here: test_it.py::test_x (no time)" in out
    code, out = session(tmp_path, "import pytest\npytest.importorskip('nothing_has_this_name')\n", 0, *options)
    assert code == 1 and "not allowed to skip here: test_it.py (could not import" in out


def test_a_reason_is_a_whole_one(tmp_path):
    code, out = session(tmp_path, TESTS.replace("no Ray:", "no Rayleigh waves:"), 1)
    assert code == 1 and "no Rayleigh waves" in out


def test_fewer_tests_fail(tmp_path):
    code, out = session(tmp_path, TESTS, 5)
    assert code == 1 and "only 4 tests, environments.toml wants at least 5" in out


def test_every_committed_environment_is_sound(tmp_path):
    names = [line[1 : line.index("]")] for line in FILE.read_text().splitlines() if line.startswith("[")]
    assert "ci" in names
    assert all(isinstance(read_environment(name), Environment) for name in names)
    with pytest.raises(pytest.UsageError, match="no environment 'moon'"):
        read_environment("moon")
    (tmp_path / "environments.toml").write_text('[ci]\nallowed = ["no tea"]\nminimum = 1\n')
    with pytest.raises(pytest.UsageError, match="no tea"):
        read_environment("ci", tmp_path / "environments.toml")


def test_a_missing_need_gives_its_reason(monkeypatch):
    assert all(reason.startswith("no ") for reason in REASONS)
    for need, (reason, hint, _) in NEEDS.items():
        monkeypatch.setitem(NEEDS, need, (reason, hint, lambda *_: None))
        with pytest.raises(pytest.skip.Exception, match=f"^{reason}: "):
            require(need)


def test_recordings_come_from_the_environment_or_beside_the_checkout(monkeypatch, tmp_path):
    monkeypatch.setenv("ECHOBANK_RECORDINGS", str(tmp_path))
    assert recordings("bldc_motors") is None
    (tmp_path / "bldc_motors").mkdir()
    assert recordings("bldc_motors") == tmp_path / "bldc_motors"
    with pytest.raises(ValueError, match="no set 'motors'"):
        recordings("motors")
    monkeypatch.delenv("ECHOBANK_RECORDINGS")
    assert recordings("bldc_motors") in (None, ROOT.parent / "shared" / "data" / "bldc_motors")
