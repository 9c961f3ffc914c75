from datetime import date

import numpy as np
import pytest

from echobank.errors import InputError
from echobank.machines.listener import Heard
from echobank.machines.trend.reservoir import AGES, AN_HOUR, HIGHEST, Reservoir, chosen, read_reservoir, sample_of
from echobank.machines.trend.summaries import HOUR
from tests.machines.trend.heardlike import windows


def heard(taken, seed=0):
    rng = np.random.default_rng(seed)
    count = len(taken)
    return Heard(
        None,
        "a" * 64,
        16_000,
        2.0 * count,
        rng.standard_normal((count, 1, 8)).astype(np.float32),
        rng.standard_normal((count, 2, 4)).astype(np.float32),
        np.arange(count) * 1.0,
        np.full(count, 2.0),
        np.full(count, -20.0),
        ((),) * count,
        sound_sha256="b" * 64,
    )


def kept(folder, pieces):
    reservoir = Reservoir(folder)
    for piece in pieces:
        reservoir.take(piece, heard(piece, piece[0].heard % 97))
    reservoir.write()
    return [one.window.id for one in read_reservoir(folder)]


def test_a_day_keeps_two_of_every_hour_and_the_highest_scores(tmp_path):
    day = windows(24 * 30)
    ids = kept(tmp_path, [day[i : i + 40] for i in range(0, 720, 40)])
    sample = sample_of(tmp_path / "2023-11-15.safetensors")
    assert len(ids) == AGES[0][1] == 24 * AN_HOUR + HIGHEST
    usual = [one for one in sample if not one.high]
    hours = [one.window.heard // HOUR for one in usual]
    assert all(hours.count(hour) == AN_HOUR for hour in set(hours)) and len(set(hours)) == 24
    rest = sorted((w.score for w in day if w.id not in {one.window.id for one in usual}), reverse=True)
    assert sorted((one.window.score for one in sample if one.high), reverse=True) == rest[:HIGHEST]


def test_the_sample_depends_on_the_ids_alone(tmp_path):
    day = windows(24 * 30)
    one = kept(tmp_path / "one", [day])
    two = kept(tmp_path / "two", [day[i : i + 90] for i in range(630, -1, -90)])
    again = kept(tmp_path / "two", [day])
    assert one == two == again


def test_what_was_sampled_comes_back_with_its_arrays(tmp_path):
    taken = windows(3)
    sound = heard(taken)
    reservoir = Reservoir(tmp_path)
    reservoir.take(taken, sound)
    reservoir.write()
    for i, one in enumerate(sorted(read_reservoir(tmp_path), key=lambda it: it.window.heard)):
        assert (one.vector == sound.vectors[i]).all() and (one.profile == sound.profiles[i]).all()
        assert one.window.score == taken[i].score and one.sha256 == "a" * 64 and one.window.facts == ()


def test_old_days_lose_most_and_keep_a_part_of_what_they_had(tmp_path):
    before = set(kept(tmp_path, [windows(24 * 30)]))
    reservoir = Reservoir(tmp_path)
    sizes = []
    for today in (date(2024, 1, 1), date(2024, 6, 1), date(2026, 1, 1)):
        reservoir.age(today)
        after = {one.window.id for one in read_reservoir(tmp_path)}
        assert after <= before
        before, sizes = after, [*sizes, len(after)]
    assert sizes == [AGES[0][1], AGES[1][1], AGES[2][1]]


def test_a_smaller_choice_of_the_usual_windows_is_a_part_of_a_larger(tmp_path):
    taken = windows(24 * 30)
    kept(tmp_path, [taken])
    sample = read_reservoir(tmp_path)
    small, large = ({one.window.id for one in chosen(sample, most) if not one.high} for most in (12, 40))
    assert small <= large


def test_silent_windows_and_errors_are_not_sampled(tmp_path):
    import dataclasses

    taken = [dataclasses.replace(w, flags="silent") for w in windows(3)]
    reservoir = Reservoir(tmp_path)
    reservoir.take(taken, heard(taken))
    reservoir.write()
    assert read_reservoir(tmp_path) == []


def test_a_damaged_sample_is_named(tmp_path):
    (tmp_path / "2023-11-15.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="2023-11-15"):
        read_reservoir(tmp_path)
