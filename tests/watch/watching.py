"""A watch with a clock that the test moves and a sink that remembers."""

from echobank.watch.engine import WatchSettings
from echobank.watch.sinks.sink import SinkError

SETTINGS = WatchSettings(k=2, n=3, heartbeat=0)
SETTLE = 5.0


class Receiver:
    """A sink that remembers what it took, and can be out of order."""

    name = "receiver"
    kinds = frozenset({"open", "close", "error", "score", "heartbeat", "no_sound", "sound"})
    remote = False

    def __init__(self):
        self.taken, self.broken = [], False

    def send(self, messages):
        if self.broken:
            raise SinkError("broken")
        self.taken += [message.to_values() for message in messages]

    def mark(self):
        return 0

    def rewind(self, mark):
        pass

    def close(self):
        pass


def settle(watch, clock):
    watch.step()
    clock.now += 6
    return watch.step()


def names(receiver, kind="score"):
    return [m["file"] for m in receiver.taken if m["kind"] == kind and m.get("start") in (0.0, None)]
