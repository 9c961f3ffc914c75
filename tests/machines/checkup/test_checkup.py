import dataclasses

import numpy as np
import pytest

from echobank.detection.bank import load_bank
from echobank.errors import InputError
from echobank.machines.checkup.blocks import cut_blocks, independent_blocks
from echobank.machines.checkup.checkup import check_up
from echobank.machines.checkup.checkup_page import lines_of, page_of
from echobank.machines.checkup.episodes import log_scores
from tests.machines.checkup.simulated import (
    BEGIN,
    DAY,
    bearing_fault,
    dull,
    fact,
    from_day,
    gain,
    history,
    hours_of_year,
    lost_above,
    swapped,
)

NOW = BEGIN + 400 * DAY


@pytest.fixture(scope="module")
def pump(fitted):
    return load_bank(fitted / "banks" / "pump" / "bank.safetensors")


def changes(checkup):
    return [finding for finding in checkup.findings if finding.found is not None]


def day_of(at):
    return (at - BEGIN) / DAY


@pytest.mark.parametrize("memory", [0.0, 0.6, 0.9])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_year_without_a_change_is_good(pump, seed, memory):
    checkup = check_up(pump, history(hours_of_year(365, seed=seed, memory=memory)), now=NOW)
    assert changes(checkup) == [] and checkup.verdict == "good"
    assert any(it.kind == "steady" for it in checkup.findings) and checkup.block_hours >= 1


CHAIN = {
    "gain": from_day(100, gain(3)),
    "lost_band": from_day(100, lost_above(4000)),
    "swapped": from_day(100, swapped),
    "hum": from_day(100, fact("hum 50", 15)),
    "dropped": from_day(100, fact("dead", 70)),
    "offset": from_day(100, fact("offset", 40)),
}


@pytest.mark.parametrize("kind", CHAIN)
@pytest.mark.parametrize("scored", [True, False])
def test_what_fails_of_the_chain_is_named_with_its_day_whether_or_not_the_scores_mind(pump, kind, scored):
    def score(day):
        return 0.4 * (day >= 100) * scored

    checkup = check_up(pump, history(hours_of_year(160, score=score, change=CHAIN[kind])), now=NOW)
    first = min(changes(checkup), key=lambda it: it.since)
    assert (first.about, first.kind, first.level) == ("recording chain", kind, "warning")
    assert abs(day_of(first.since) - 100) < 2 and 100 <= day_of(first.found) < 115
    assert day_of(first.low) <= 100.5 and day_of(first.high) >= 99.5
    assert ("scores of quiet times" in first.sentence) is scored
    assert not any(it.about == "machine" for it in changes(checkup)) and checkup.verdict == "look"


def test_a_slow_fault_is_a_change_of_the_machine_since_its_beginning(pump):
    def score(day):
        return 0.8 * np.clip((day - 100) / 60, 0, 1)

    checkup = check_up(pump, history(hours_of_year(190, score=score, change=bearing_fault(100, 60))), now=NOW)
    (fault,) = [it for it in changes(checkup) if it.about == "machine"]
    assert fault.kind == "slow" and fault.level == "warning"
    assert abs(day_of(fault.since) - 100) < 15 and day_of(fault.found) < 130
    assert fault.values["score_ratio"] == pytest.approx(np.exp(0.8), rel=0.15)
    assert not any(it.about == "recording chain" for it in changes(checkup))


def test_a_slow_change_that_has_not_ended_goes_on(pump):
    def score(day):
        return 0.8 * np.clip((day - 100) / 60, 0, 1)

    checkup = check_up(pump, history(hours_of_year(140, score=score, change=bearing_fault(100, 60))), now=NOW)
    (fault,) = [it for it in changes(checkup) if it.about == "machine"]
    assert "it goes on" in fault.sentence


def test_an_ageing_microphone_is_the_chain(pump):
    def score(day):
        return 0.4 * np.clip((day - 60) / 180, 0, 1)

    checkup = check_up(pump, history(hours_of_year(300, score=score, change=dull(60, 180))), now=NOW)
    assert any(it.kind == "ageing" for it in changes(checkup))
    assert not any(it.about == "machine" for it in changes(checkup))


def test_a_gain_step_and_a_fault_months_later_are_two(pump):
    step, fault = from_day(80, gain(3)), bearing_fault(160, 60)

    def both(facts, day):
        step(facts, day)
        fault(facts, day)

    def score(day):
        return 0.3 * (day >= 80) + 0.8 * np.clip((day - 160) / 60, 0, 1)

    checkup = check_up(pump, history(hours_of_year(260, score=score, change=both)), now=NOW)
    found = sorted(changes(checkup), key=lambda it: it.since)
    assert (found[0].about, found[0].kind) == ("recording chain", "gain")
    assert any(it.about == "machine" and abs(day_of(it.since) - 160) < 20 for it in found[1:])


def test_without_facts_it_says_that_it_cannot_tell(pump):
    hours = hours_of_year(160, score=lambda day: 0.4 * (day >= 100))
    hours = dataclasses.replace(hours, facts=np.full_like(hours.facts, np.nan))
    (change,) = changes(check_up(pump, history(hours), now=NOW))
    assert change.about == "scores" and "cannot be told apart" in change.sentence


def test_a_rate_beyond_what_the_calibration_promised_is_a_warning(pump):
    hours = hours_of_year(200, score=lambda day: 1.0 * (day >= 120))
    checkup = check_up(pump, history(hours), now=NOW)
    (rate,) = [it for it in checkup.findings if it.kind.startswith("rate")]
    assert rate.kind == "rate_high" and rate.values["low"] > 0.117  # Beta interval of 24 recordings at 5 %
    assert rate.values["share"] == pytest.approx(0.05 * np.exp(2), rel=0.05)
    steady = check_up(pump, history(hours_of_year(200)), now=NOW)
    (rate,) = [it for it in steady.findings if it.kind.startswith("rate")]
    assert rate.kind == "rate" and rate.values["low"] < 0.05 < rate.values["high"]


def test_the_hours_and_the_state_in_which_scores_rose_are_named(pump):
    def score(day):
        return 0.6 * (day >= 100) * ((day % 1) * 24 >= 22)

    hours = hours_of_year(200, score=score, memory=0.2, change=bearing_fault(100, 1))
    checkup = check_up(pump, history(hours), now=NOW)
    said = [text for it in changes(checkup) for text in it.evidence]
    assert any("between 22:00 and 23:00" in text or "between 23:00 and 24:00" in text for text in said)


@pytest.mark.parametrize("days", [0, 1, 20, 34])
def test_too_little_is_said_and_nothing_else_of_the_scores(pump, days):
    hours = hours_of_year(max(days, 1), score=lambda day: 3.0 * (day > days / 2))
    hours = hours.take(hours.begins < BEGIN + days * DAY)
    checkup = check_up(pump, history(hours, states=("00.wav",) * len(hours)), now=NOW)
    assert changes(checkup) == [] and checkup.verdict == "too little"
    (data,) = [it for it in checkup.findings if it.about == "data"]
    assert data.kind == "too_little" and "35 days" in data.next_step
    assert not any(it.about in ("scores", "machine", "recording chain") for it in checkup.findings)


def test_a_bank_that_was_just_changed_is_tested_up_to_the_change(pump):
    hours = hours_of_year(120, revision=lambda day: 1 + (day >= 110))
    checkup = check_up(pump, history(hours), now=NOW)
    assert checkup.revision == 1 and any(it.kind == "new_revision" for it in checkup.findings)
    checkup = check_up(pump, history(hours_of_year(120, revision=lambda day: 1 + (day >= 60))), now=NOW)
    assert checkup.revision == 2 and changes(checkup) == []


def test_what_is_watched_more_strictly_is_found_earlier(pump):
    hours = hours_of_year(200, score=lambda day: 0.5 * np.clip((day - 100) / 60, 0, 1))
    found = [
        min(changes(check_up(pump, history(hours), now=NOW, false_alarms=rate)), key=lambda it: it.found).found
        for rate in (0.01, 10)
    ]
    assert found[1] < found[0]
    for wrong in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(InputError):
            check_up(pump, history(hours), now=NOW, false_alarms=wrong)


def test_page_lines_and_values_tell_the_same_and_escape_names(pump):
    machine = dataclasses.replace(pump.header.machine, name="<b>pump & co</b>")
    bank = dataclasses.replace(pump, header=dataclasses.replace(pump.header, machine=machine))
    checkup = check_up(bank, history(hours_of_year(160, change=from_day(100, gain(3)))), now=NOW)
    page, lines, values = page_of(checkup), "\n".join(lines_of(checkup)), checkup.to_values()
    assert "<b>pump" not in page and "&lt;b&gt;pump &amp; co&lt;/b&gt;" in page and "<script" not in page
    assert page.count("<article") == len(values["findings"]) == lines.count("\n[")
    assert values["findings"][0]["kind"] == "gain" and page.count("<svg") == 3
    import json

    json.dumps(values, allow_nan=False)


def test_blocks_are_longer_where_hours_resemble_each_other():
    lengths = []
    for memory in (0.0, 0.7, 0.95):
        hours = hours_of_year(60, memory=memory)
        lengths.append(independent_blocks(hours, log_scores(hours)).length)
    assert lengths[0] == 1 and lengths[0] < lengths[1] < lengths[2] <= 24


def test_medians_and_means_of_blocks_are_those_of_their_hours():
    hours = hours_of_year(10)
    values = log_scores(hours)
    values[3::11] = np.nan
    for length in (1, 3, 24):
        blocks = cut_blocks(hours, length)
        parts = [values[blocks.hours == i] for i in range(len(blocks))]
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(
                blocks.medians(values), [np.nanmedian(p) if (~np.isnan(p)).any() else np.nan for p in parts]
            )
            np.testing.assert_allclose(
                blocks.means(values), [np.nanmean(p) if (~np.isnan(p)).any() else np.nan for p in parts]
            )
