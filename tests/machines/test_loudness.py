"""Level alone on the page of a machine."""

import re

import numpy as np
import pytest

from echobank.cli import main
from echobank.machines.loudness import nearest_level, nearest_other
from tests.machines.sounds import hum, with_tone, write


@pytest.mark.parametrize("seed", range(5))
def test_nearest_levels_are_those_of_a_search_through_all(seed):
    rng = np.random.default_rng(seed)
    known, groups = rng.normal(-30, 3, 40).round(1), rng.integers(0, 6, 40)
    apart = np.where(groups[:, None] == groups, np.inf, np.abs(known[:, None] - known))
    np.testing.assert_allclose(nearest_other(known, groups), apart.min(axis=1))
    asked = rng.normal(-30, 6, 25)
    np.testing.assert_allclose(nearest_level(known, asked), np.abs(asked[:, None] - known).min(axis=1))
    assert np.isinf(nearest_other(known, np.zeros(40, int))).all()


def page_of(bank, folder, tmp_path):
    page = tmp_path / "page.html"
    assert main(["score", str(bank), str(folder), "--report", str(page)]) in (0, 1)
    return " ".join(page.read_text().split())


def test_where_everything_is_louder_the_page_says_that_level_alone_does_as_well(fitted, bank, tmp_path):
    for i in range(6):
        write(tmp_path / "new" / f"{i}.wav", hum(4.0, seed=200 + i, gain=1.5 + i))
    text = page_of(bank, tmp_path / "new", tmp_path)
    (called, both, odd) = map(int, re.search(r"call (\d+) of 18 windows anomalous, (\d+) of the (\d+)", text).groups())
    assert called == 18 and both == odd
    assert ("level alone does as well" in text) == (odd > 0)


def test_where_a_tone_is_odd_and_no_louder_level_alone_finds_nothing(fitted, bank, tmp_path):
    for i in range(2):
        sound = with_tone(hum(4.0, seed=100 + i), 0, 4, level=0.01)
        write(tmp_path / "new" / f"{i}.wav", sound * hum(4.0, seed=100 + i).std() / sound.std())
    text = page_of(bank, tmp_path / "new", tmp_path)
    called, _, odd = map(int, re.search(r"call (\d+) of 6 windows anomalous, (\d+) of the (\d+)", text).groups())
    assert odd == 6 and called == 0 and "level alone does as well" not in text
