"""The official evaluator's truth, scores and output, where the shared folder is at hand."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def official() -> Path:
    folder = Path(__file__).parents[3] / "shared" / "reference" / "evaluator2024"
    if not folder.is_dir():
        pytest.skip(f"no official reference at {folder}")
    return folder
