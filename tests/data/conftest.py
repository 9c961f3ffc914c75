from tests.machines.conftest import fitted, offline

__all__ = ["fitted", "offline"]
