"""Progress: how far a run is, how fast, and when it ends; a bar on a terminal, a line per minute elsewhere."""

import sys
import threading
from dataclasses import replace
from itertools import pairwise

import pytest

from echobank.cli.fleet import _EVERY, _Showing, describe_pace
from echobank.fleet.catalog import catalog_of
from echobank.fleet.embed_run import EmbedRun, Pace
from echobank.fleet.embedding import EmbedWorker
from echobank.fleet.location import Location
from tests.fleet.programs import settings_for
from tests.fleet.support import InProcess


class Counted(InProcess):
    """Waits for the count before the first task is done, so that every estimate has it."""

    def map(self, tasks):
        for number, (task, done) in enumerate(super().map(tasks)):
            if not number:
                for thread in threading.enumerate():
                    if thread.name == "fleet-counter":
                        thread.join()
            yield task, done


def paces(source, out):
    settings, seen = settings_for(source, out), []
    EmbedRun(settings, catalog_of(Location(str(source))), 3).run(Counted(EmbedWorker(settings)), seen.append)
    return seen


def test_a_run_says_how_many_are_done_and_how_many_there_are(source, tmp_path):
    seen = paces(source, tmp_path / "out")
    assert [pace.done for pace in seen] == [3, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25]
    assert {pace.total for pace in seen} == {25} and seen[-1].left == 0
    assert all(one.seconds <= two.seconds for one, two in pairwise(seen))


def test_what_is_there_already_is_not_counted(source, tmp_path):
    paces(source, tmp_path / "out")
    first = next((tmp_path / "out").rglob("machine=pump1/day=2026-03-01/*.parquet"))
    first.unlink()
    (pace,) = paces(source, tmp_path / "out")
    assert pace.done == pace.total in (1, 3)


def test_the_estimate_is_the_rest_at_the_rate_so_far():
    pace = Pace(done=50, total=200, seconds=10.0)
    assert (pace.rate, pace.left) == (5.0, 30.0)
    assert replace(pace, total=None).left is None and replace(pace, done=0).left is None
    assert replace(pace, seconds=0.0).rate == 0.0


@pytest.mark.parametrize(
    ("pace", "said"),
    [
        (Pace(50, None, 10.0), "embed: 50 done, 5.0 per second, still counting the rest"),
        (Pace(50, 200, 10.0), "embed: 50 of 200 done, 5.0 per second, about 30 s left at this rate"),
        (Pace(50, 5_000, 10.0), "embed: 50 of 5000 done, 5.0 per second, about 16 min left at this rate"),
        (Pace(50, 500_000, 10.0), "embed: 50 of 500000 done, 5.0 per second, about 27.8 h left at this rate"),
    ],
)
def test_progress_in_words(pace, said):
    assert describe_pace("embed", pace) == said


def test_without_a_terminal_there_is_a_line_per_minute(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with _Showing("embed") as showing:
        for done in range(1, 8):
            now[0] += _EVERY / 3
            showing(Pace(done, 10, now[0]))
    assert [line.split(" done")[0] for line in capsys.readouterr().err.splitlines()] == [
        "embed: 3 of 10",
        "embed: 6 of 10",
    ]


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    shown = []

    class Terminal:
        def isatty(self):
            return True

        def write(self, text):
            shown.append(text)

        def flush(self):
            pass

    monkeypatch.setattr(sys, "stderr", Terminal())
    with _Showing("embed") as showing:
        showing(Pace(1, None, 0.1))
        showing._bar.delay = 0
        showing._bar.mininterval = 0
        showing(Pace(5, 10, 0.2))
    assert "5/10" in "".join(shown)
