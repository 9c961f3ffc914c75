from tests.machines.conftest import bank, fitted, offline

__all__ = ["bank", "fitted", "offline"]
