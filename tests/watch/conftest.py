import pytest

from echobank.machines.machine import open_machine
from echobank.watch.engine import Watch
from echobank.watch.feeds.folder_feed import FolderFeed
from tests.machines.conftest import bank, fitted, offline
from tests.watch.deliveries import Clock
from tests.watch.watching import SETTINGS, SETTLE, Receiver

__all__ = ["bank", "fitted", "offline", "place"]


@pytest.fixture
def place(fitted, tmp_path):
    """Return a function that starts a watch, its clock, its receiver and its folder."""
    clock, receiver, folder = Clock(), Receiver(), tmp_path / "landing"
    folder.mkdir()
    machine = open_machine(fitted / "banks" / "pump")
    watches = []

    def start(*more, settings=SETTINGS, bank=fitted / "banks" / "pump"):
        for old in watches:
            old.close()
        feed = FolderFeed(folder, SETTLE, clock)
        watches[:] = [Watch(machine, bank, feed, tmp_path / "state", [receiver, *more], settings, clock)]
        return watches[0]

    yield start, clock, receiver, folder
    for old in watches:
        old.close()
