import math
import shutil
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echobank.cli import main
from echobank.errors import InputError, OutputError
from echobank.machines.trend import trend_store
from echobank.machines.trend.summaries import HOUR, MINUTES_FOR, WINDOWS_FOR
from echobank.machines.trend.trend_files import read_summaries
from echobank.machines.trend.trend_store import TrendStore, window_files, windows_in
from tests.machines.sounds import full_disk
from tests.machines.trend.heardlike import BEGIN, windows

DAY = 24 * HOUR


def stored(folder):
    """Return all that a folder holds: ids of windows in files, and sums of the hours."""
    ids = [window.id for path in window_files(folder) for window in windows_in(path)]
    hours = [row for path in sorted((folder / "hours").glob("*.parquet")) for row in read_summaries(path)[0]]
    return ids, hours


def keep(folder, taken, now=None, **more):
    store = TrendStore(folder, **more)
    try:
        fresh = store.take(taken)
        store.roll()
        store.tend(now if now is not None else taken[-1].received)
    finally:
        store.close()
    return fresh


def test_windows_come_back_as_they_were(tmp_path):
    taken = windows(90)
    assert keep(tmp_path, taken) == taken
    assert sorted((w for p in window_files(tmp_path) for w in windows_in(p)), key=lambda w: w.heard) == taken


def test_ids_that_come_again_change_nothing(tmp_path):
    taken = windows(90)
    keep(tmp_path, taken[:60])
    assert keep(tmp_path, taken) == taken[60:]
    assert keep(tmp_path, taken + taken) == []
    assert sorted(stored(tmp_path)[0]) == sorted(w.id for w in taken)


def test_old_windows_become_hours_and_minutes_with_the_columns_of_the_service(tmp_path):
    taken = windows(240)
    keep(tmp_path, taken, taken[-1].received + WINDOWS_FOR + 1)
    ids, hours = stored(tmp_path)
    assert ids == [] and len(hours) == 8
    scores = [w.score for w in taken]
    assert sum(row["windows"] for row in hours) == 240
    assert sum(row["anomalous"] for row in hours) == sum(w.decision for w in taken)
    assert math.isclose(sum(row["score"]["sum"] for row in hours), math.fsum(scores))
    first = sorted(scores[:30])
    assert hours[0]["score"]["quantiles"][3] == first[math.ceil(0.5 * 29)]
    assert np.allclose(hours[0]["facts"], np.mean([w.facts for w in taken[:30]], axis=0), atol=1)
    minutes = read_summaries(tmp_path / "minutes" / "2023-11-15.parquet")[0]
    assert len(minutes) == 240 and set(minutes[0]) == set(hours[0])
    keep(tmp_path, windows(1, begin=BEGIN + MINUTES_FOR + 2 * DAY), BEGIN + MINUTES_FOR + 2 * DAY)
    assert not (tmp_path / "minutes" / "2023-11-15.parquet").exists()


@pytest.mark.parametrize("step", ["write_windows", "write_summaries", "write_bytes", "unlink"])
@pytest.mark.parametrize("call", [0, 1, 2])
def test_killed_between_any_two_steps_nothing_is_counted_twice_or_lost(tmp_path, monkeypatch, step, call):
    """The step is the last that happens; then the program is gone, and another goes on."""
    taken = windows(120) + windows(60, seed=5, begin=BEGIN, late=30 * DAY)
    now = BEGIN + 40 * DAY

    class Killed(Exception):
        pass

    done = iter(range(100))
    owner = trend_store.Path if step == "unlink" else trend_store
    real = getattr(owner, step)

    def last(*args, **more):
        real(*args, **more)
        if next(done) == call:
            raise Killed

    keep(tmp_path, taken[:50])
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, last)
        with suppress(Killed):
            keep(tmp_path, taken, now)
    keep(tmp_path, windows(1, seed=9, begin=now), now)
    ids, hours = stored(tmp_path)
    assert [i for i in ids if i[0] != "9"] == []
    assert sum(row["windows"] for row in hours) == 180
    assert len({(row["begins"], row["revision"]) for row in hours}) == len(hours)


def test_recordings_of_long_ago_are_known_for_ever(tmp_path):
    old = windows(60, late=400 * DAY)
    keep(tmp_path, old, old[-1].received + WINDOWS_FOR + 1)
    assert stored(tmp_path)[0] == []
    again = windows(60, late=800 * DAY)
    assert keep(tmp_path, again, again[-1].received) == []
    assert sum(row["windows"] for row in stored(tmp_path)[1]) == 60


def test_a_late_window_is_added_to_its_own_hour(tmp_path):
    taken = windows(30)
    keep(tmp_path, taken, taken[-1].received + WINDOWS_FOR + 1)
    late = windows(30, seed=1, late=5 * DAY)
    keep(tmp_path, late, late[-1].received + WINDOWS_FOR + 1)
    (hour,) = stored(tmp_path)[1]
    assert hour["windows"] == 60 and sum(hour["score"]["cells"].values()) == 60
    assert np.allclose(hour["facts"], np.mean([w.facts for w in taken + late], axis=0), atol=2)


def test_two_programs_do_not_write_one_trend(tmp_path):
    store = TrendStore(tmp_path)
    with pytest.raises(OutputError, match="another program"):
        TrendStore(tmp_path)
    store.close()


def test_a_damaged_file_is_named(tmp_path):
    keep(tmp_path, windows(10))
    (path,) = window_files(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=path.name):
        TrendStore(tmp_path)
    shutil.move(path, tmp_path / "away")
    TrendStore(tmp_path).close()


def test_a_full_disk_keeps_what_was_there(tmp_path):
    taken = windows(3000, facts=False)
    store = TrendStore(tmp_path)
    store.take(taken[:5])
    with full_disk(4096), pytest.raises(OutputError):
        store.take(taken[5:])
    assert store.take(taken) == taken[5:]
    store.close()
    store = TrendStore(tmp_path)
    assert store.take(taken) == []
    store.close()


@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=5), order=st.randoms(use_true_random=False))
def test_hours_do_not_depend_on_how_windows_arrive(tmp_path_factory, cuts, order):
    taken = windows(60, every=HOUR // 10)
    whole = tmp_path_factory.mktemp("whole")
    keep(whole, taken, taken[-1].received + WINDOWS_FOR + 1)
    parts = tmp_path_factory.mktemp("parts")
    places = sorted({0, *cuts, 60})
    pieces = [taken[a:b] for a, b in pairwise(places)]
    order.shuffle(pieces)
    for piece in pieces:
        keep(parts, piece)
    keep(parts, windows(1, begin=BEGIN + 9 * DAY, seed=3), BEGIN + 9 * DAY)
    one, two = stored(whole)[1], stored(parts)[1]
    for first, second in zip(one, two, strict=True):
        assert (first["begins"], first["windows"], first["anomalous"]) == (
            second["begins"],
            second["windows"],
            second["anomalous"],
        )
        assert first["score"]["cells"] == second["score"]["cells"] and first["nearest"] == second["nearest"]
        assert np.abs(np.subtract(first["facts"], second["facts"])).max() <= 3


def test_a_trend_that_cannot_be_read_prints_no_header(tmp_path, capsys):
    assert main(["trend", "banks/pump7", "--trend", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and "there is no trend here" in printed.err
