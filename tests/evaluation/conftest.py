"""An invented truth, invented scores, and what the official evaluator wrote for them; see tests/golden/README.md."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def official() -> Path:
    return Path(__file__).parents[1] / "golden" / "evaluator"
