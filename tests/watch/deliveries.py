"""A journal with something to deliver, and what drains it."""

import time

from echobank.journal import Journal
from echobank.machines.verdict import Verdict
from echobank.watch.events import Opened
from echobank.watch.outbox import Delivery

HEADER = {"machine": "m"}


def opened(n):
    """Return a message whose file is a number."""
    facts = {"machine": "m", "time": "now", "file_time": "", "threshold": 1.0, "event": f"id-{n}"}
    return Opened(id=f"id-{n}", verdict=Verdict(str(n), score=2.0), **facts)


def line(n):
    """Return a line of a journal with one message."""
    return {"file": f"{n}", "messages": [opened(n).to_values()]}


def outbox(folder, count):
    path = folder / "journal.jsonl"
    with Journal(path) as journal:
        journal.append(HEADER)
        for i in range(count):
            journal.append(line(i))
    return path


class Clock:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self):
        return self.now


def drain(make_sink, folder, journal, rounds=400):
    """Deliver with a new sink and cursor file every few rounds, as a watch that is restarted does."""
    clock = Clock()
    delivery = Delivery(make_sink(), folder, clock)
    for turn in range(rounds):
        delivery.pump(journal, "g")
        clock.now += 120
        if delivery.done:
            break
        if turn % 3 == 2:
            delivery.close()
            delivery = Delivery(make_sink(), folder, clock)
    delivery.close()
    return delivery


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()
