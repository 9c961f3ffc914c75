import os
from pathlib import Path

import pytest

from echobank.cli.fleet import _RAY, _RAY_HERE
from echobank.fleet.cluster import PoolSettings, RayPool
from tests.fleet.support import small_fleet
from tests.requirements import require

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package", autouse=True)
def quiet_ray():
    """Have Ray keep to loopback and report nothing home, as the command line does."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**_RAY, **_RAY_HERE}.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="package")
def ray_here(quiet_ray):
    """Start Ray once for all tests of a process; runs in this process use it."""
    require("ray")
    import ray

    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)  # the workers'
        RayPool(object, PoolSettings(actors=3))._init(ray)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="package")
def source(tmp_path_factory):
    """Return a folder of three machines, two days, four recordings each, and one that is no sound."""
    pytest.importorskip("pyarrow", reason="no Ray")
    root = small_fleet(tmp_path_factory.mktemp("fleet"))
    (root / "pump0" / "2026-03-01" / "bad.wav").write_bytes(b"no sound at all")
    return root
