"""Skips a test whose needs are not met; with ECHOBANK_TEST_ENVIRONMENT, fails the session on any other skip."""

import json
import os

import pytest

from tests.ci.environment import Strict, read_environment
from tests.requirements import require


def pytest_configure(config):
    name = os.environ.get("ECHOBANK_TEST_ENVIRONMENT")
    if name and not hasattr(config, "workerinput"):  # workers of pytest-xdist report to the one who counts
        config.pluginmanager.register(Strict(name, read_environment(name)), "echobank-environment")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Return the workers of `-n auto`: two more than cores, since half of the time is waiting for other programs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2 * cores, cores + 2)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    for marker in item.iter_markers("needs"):
        require(*marker.args)


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """Return a folder with the recordings and encoders that the stored references were made with."""
    from tests.golden.before.places import HERE, prepare

    folder = tmp_path_factory.mktemp("before")
    made = prepare(folder)
    stored = json.loads((HERE / "recordings.json").read_text())
    differ = [name for name, sha256 in stored["recordings"].items() if made.get(name) != sha256]
    if differ:
        pytest.fail(
            f"{len(differ)} of {len(stored['recordings'])} recordings that are made from seeds differ from those of "
            f"the references (first: {differ[0]}), so their scores cannot be compared; made with {stored['versions']}"
        )
    return folder


@pytest.fixture
def before(places):
    """Give that folder, and compute as the references were computed: with one thread, SoundNet from random numbers."""
    from tests.golden.before.places import one_thread, unpinned

    with unpinned(places), one_thread():
        yield places


@pytest.fixture
def front_end_of_before(monkeypatch):
    """Give encoders and profiles the log-mel of the stored references: torch's, as where torch was installed.

    Today only BEATs has it, and all others have numpy's, which `tests/models/test_logmel.py` holds beside it. On the
    small differences of the synthetic recordings here their last digits would show.
    """
    require("torch")
    from echobank.models.logmel import logmel_torch

    for place in ("machines.listener", "models.encoders.logmel_stats", "models.encoders.onnx_encoder", "pipeline.run"):
        monkeypatch.setattr(f"echobank.{place}.logmel", logmel_torch)
