"""A data set, and a way to run the stages as a user does."""

from pathlib import Path

import pytest

from echobank.cli import main
from tests.pipeline.dataset import make_dataset


class Project:
    """A data set with an output folder, driven through the command line."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        self.results = folder / "results"

    def run(self, command: str, *settings: str, root: Path | None = None) -> int:
        """Run one stage and return its exit code."""
        words = [f"data.root={root or self.root}", f"data.cache={self.folder / 'cache'}"]
        words += [f"output.dir={self.results}", "model.embedding=logmel_stats", *settings]
        return main([command, *[word for setting in words for word in ("--set", setting)]])

    def all(self, *settings: str) -> list[int]:
        """Run the three stages and return their exit codes."""
        return [self.run(command, *settings) for command in ("preprocess", "train", "infer")]

    def outputs(self) -> dict[str, bytes]:
        """Bytes of every CSV and bank, by name."""
        found = [*self.results.rglob("*.csv"), *self.results.rglob("*.safetensors")]
        return {str(path.relative_to(self.results)): path.read_bytes() for path in found}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """A data set that no test changes."""
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture
def project(dataset, tmp_path):
    """The shared data set with an output folder of its own."""
    return Project(dataset, tmp_path)


@pytest.fixture
def own_project(tmp_path):
    """A data set of one machine that the test may change."""
    return Project(make_dataset(tmp_path / "data", ("fan",)), tmp_path)
