"""Skips a test whose needs are not met; with ECHOBANK_TEST_ENVIRONMENT, fails the session on any other skip."""

import os

import pytest

from tests.ci.environment import Strict, read_environment
from tests.requirements import require


def pytest_configure(config):
    name = os.environ.get("ECHOBANK_TEST_ENVIRONMENT")
    if name and not hasattr(config, "workerinput"):  # workers of pytest-xdist report to the one who counts
        config.pluginmanager.register(Strict(name, read_environment(name)), "echobank-environment")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    for marker in item.iter_markers("needs"):
        require(*marker.args)
