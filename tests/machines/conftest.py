import shutil

import pytest

from echobank.cli import main
from tests.machines.sounds import healthy_folder, hum, with_tone, write


@pytest.fixture(scope="package", autouse=True)
def offline(tmp_path_factory):
    """Have every fit hear with logmel_stats, whatever weights or network the machine has; sub-processes too.

    Import it into a conftest.py, never into a module of tests: there it would last to the end of the session.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("echobank.machines.fit.MACHINE_DEFAULTS", ("model.embedding=logmel_stats", "model.k=1"))
        patch.setenv("ECHOBANK_CACHE", str(tmp_path_factory.mktemp("no-weights")))
        patch.setenv("PIP_NO_INDEX", "1")
        yield


@pytest.fixture(scope="package")
def fitted(tmp_path_factory):
    """Return a folder with healthy/ and banks/pump, made once by the command line."""
    root = tmp_path_factory.mktemp("pump")
    healthy_folder(root / "healthy")
    fit = ["fit", str(root / "healthy"), "--machine", "pump", "--out", str(root / "banks"), "--window", "2s"]
    assert main(fit) == 0
    write(root / "new" / "good.wav", hum(seed=100))
    write(root / "new" / "bad.wav", with_tone(hum(seed=101), 1.0, 2.5))
    return root


@pytest.fixture
def bank(fitted, tmp_path):
    """Return a copy of the bank that a test may change."""
    shutil.copytree(fitted / "banks" / "pump", tmp_path / "banks" / "pump")
    return tmp_path / "banks" / "pump"
