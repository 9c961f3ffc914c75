import dataclasses
import json

import numpy as np
import pytest

from echobank.cli import main
from echobank.data.sound_facts import NAMES, in_decibels
from echobank.errors import InputError
from echobank.machines.checkup.history import history_in, history_of
from echobank.machines.trend.summaries import HOUR, WINDOWS_FOR
from echobank.machines.trend.trend_files import read_summaries
from echobank.machines.trend.trend_store import TrendStore
from tests.machines.trend.heardlike import BEGIN, windows

DAY = 24 * HOUR


def keep(folder, taken, now=None, **more):
    store = TrendStore(folder, **more)
    store.take(taken)
    store.roll()
    store.tend(now or taken[-1].received)
    store.close()


def same(one, two, tolerance=0.02):
    for field in dataclasses.fields(one.hours):
        first, second = getattr(one.hours, field.name), getattr(two.hours, field.name)
        np.testing.assert_allclose(first, second, atol=tolerance if field.name == "facts" else 1e-9, err_msg=field.name)
    assert one.flags == two.flags


def test_hours_are_those_of_the_windows(tmp_path):
    taken = windows(300)
    keep(tmp_path, taken)
    found = history_in(tmp_path)
    assert len(found.hours) == 10 and found.hours.begins[0] == BEGIN
    for i in range(10):
        part = taken[30 * i : 30 * i + 30]
        scores = sorted(w.score for w in part)
        assert found.hours.score[i] == scores[15]  # as the quantiles of summaries are taken
        assert found.hours.windows[i] == 30 and found.hours.anomalous[i] == sum(w.decision for w in part)
        assert found.hours.level[i] == pytest.approx(np.mean([w.level_dbfs for w in part]))
        facts = in_decibels(np.array([w.facts for w in part])).mean(axis=0)
        np.testing.assert_allclose(found.hours.facts[i], facts, atol=0.01)
    assert sum(found.nearest.values()) == 300 and set(found.states) <= {f"{i}.wav" for i in range(7)}


def test_thinned_and_unthinned_give_the_same(tmp_path):
    taken = windows(24 * 30 * 3)
    now = taken[-1].received + 30 * DAY
    keep(tmp_path / "thinned", taken, now)
    keep(tmp_path / "whole", taken, now, windows_for=10_000 * DAY)
    half = windows(24 * 30 * 3)
    keep(tmp_path / "half", half[:700], half[1000].received + WINDOWS_FOR)
    keep(tmp_path / "half", half[700:], half[1000].received + WINDOWS_FOR)
    one, two, three = (history_in(tmp_path / name) for name in ("thinned", "whole", "half"))
    assert len(list((tmp_path / "thinned" / "windows").glob("*"))) == 0
    same(one, two)
    assert three.hours.windows.sum() == one.hours.windows.sum() and len(three.hours) >= len(one.hours)


def test_what_waits_in_the_journal_counts_once(tmp_path):
    taken = windows(90)
    store = TrendStore(tmp_path)
    store.take(taken[:50])
    store.roll()
    store.take(taken[50:])
    store.close()
    assert history_in(tmp_path).hours.windows.sum() == 90
    lines = [json.dumps(window.to_values()) + "\n" for window in taken[:50]]  # killed between file and journal
    with (tmp_path / "windows.jsonl").open("a") as stream:
        stream.writelines(lines)
    assert history_in(tmp_path).hours.windows.sum() == 90


def test_a_file_that_some_months_have_taken_in_counts_once(tmp_path):
    """Killed while it was thinned: the first month is summarised, the second is not, the file is still there."""
    begin = BEGIN + 15 * DAY  # 30 November
    taken = windows(120, begin=begin + 22 * HOUR)
    keep(tmp_path, taken, taken[-1].received + WINDOWS_FOR + 1)
    whole = history_in(tmp_path)
    keep(tmp_path / "two", taken)
    (tmp_path / "two" / "hours").mkdir()
    hours = sorted((tmp_path / "hours").glob("*.parquet"))
    assert len(hours) == 2
    (name,) = read_summaries(hours[0])[1] or {""}
    (tmp_path / "two" / "hours" / hours[0].name).write_bytes(hours[0].read_bytes())
    half = history_in(tmp_path / "two")
    if name:
        same(whole, half)
    else:  # the name was forgotten with its file: write it again, as it was before
        from echobank.machines.trend.trend_files import write_summaries
        from echobank.machines.trend.trend_store import window_files

        rows, _ = read_summaries(hours[0])
        write_summaries(tmp_path / "two" / "hours" / hours[0].name, rows, [window_files(tmp_path / "two")[0].stem])
        same(whole, history_in(tmp_path / "two"))


def test_a_database_gives_the_same_as_files(tmp_path):
    taken = windows(300)
    keep(tmp_path, taken, taken[-1].received + WINDOWS_FOR + 1)
    rows = [row for path in (tmp_path / "hours").glob("*.parquet") for row in read_summaries(path)[0]]
    later = windows(60, seed=1, begin=taken[-1].heard + HOUR)
    keep(tmp_path, later, later[-1].received)
    same(history_in(tmp_path), history_of(rows, [window.to_values() for window in later]))


def test_the_bank_itself_silence_rests_and_nuisances_do_not_count(tmp_path):
    taken = windows(120)
    marks = [{"flags": "in_bank"}, {"flags": "clipped+silent"}, {"quiet": "schedule"}, {"flags": "clipped"}]
    marked = [dataclasses.replace(w, **marks[i % 4]) for i, w in enumerate(taken)]
    keep(tmp_path, marked)
    found = history_in(tmp_path)
    assert found.hours.windows.sum() == 30 and found.left_out == 90
    assert found.flags == {"in_bank": 30, "clipped": 60, "silent": 30}


def test_errors_and_windows_without_facts_are_passed_over(tmp_path):
    taken = windows(30, facts=False)
    failed = dataclasses.replace(taken[0], id="x", score=None, level_dbfs=None, error="cannot be read", decision=None)
    keep(tmp_path, [*taken, failed])
    found = history_in(tmp_path)
    assert found.hours.windows.sum() == 30 and np.isnan(found.hours.facts).all()
    assert found.hours.facts.shape == (1, len(NAMES))


def test_nothing_there_is_an_error_and_an_empty_trend_is_not(tmp_path):
    with pytest.raises(InputError, match="no trend"):
        history_in(tmp_path)
    TrendStore(tmp_path).close()
    assert len(history_in(tmp_path).hours) == 0


def test_the_command_says_too_little_of_a_day(fitted, bank, tmp_path, capsys):
    main(["score", str(bank), str(fitted / "new"), "--trend", str(bank / "trend")])
    capsys.readouterr()
    page = tmp_path / "page.html"
    assert main(["checkup", str(bank), "--report", str(page)]) == 0
    out = capsys.readouterr()
    assert out.out.startswith("pump: too little to say") and "Too little to say" in page.read_text()
    assert main(["checkup", str(bank), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "too little"


@pytest.mark.parametrize(
    "wrong", [["--false-alarms", "0"], ["--trend", "nowhere"], ["--report", "page.wav"], ["--data", "x"]]
)
def test_the_command_refuses_in_one_line(fitted, bank, capsys, wrong):
    main(["score", str(bank), str(fitted / "new"), "--trend", str(bank / "trend")])
    capsys.readouterr()
    assert main(["checkup", str(bank), *wrong]) == 2
    err = capsys.readouterr().err
    assert err.startswith("echobank: ") and err.count("\n") == 1
