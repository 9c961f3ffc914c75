"""The rule: k of n opens, hysteresis closes, ids are the same whenever the same thing happens."""

import pytest

from echobank.errors import ConfigError
from echobank.machines.verdict import Verdict
from echobank.watch.rule import Judged, Rule, RuleState, advance


def play(scores, rule, pieces=1):
    """Return the kinds of messages of one window a score, in files of `pieces` windows."""
    state, said = RuleState(), []
    for first in range(0, len(scores), pieces):
        verdicts = [
            Verdict(f"{first}.wav", start=float(i), seconds=1.0, score=s, decision=int(s > rule.threshold))
            for i, s in enumerate(scores[first : first + pieces])
        ]
        windows = [Judged(verdict, f"{verdict.file}|stamp|{verdict.start}") for verdict in verdicts]
        state, messages = advance(rule, state, windows, "m", "now")
        said += messages
    return state, said


def kinds(said):
    return [message.kind for message in said if message.kind != "score"]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1, 9, 1, 9, 1, 1], []),  # two of the last five are not three
        ([9, 1, 9, 1, 9], ["open"]),
        ([9, 9, 9, 4, 4, 4, 4, 4, 4], ["open"]),  # below the threshold of 5, not below the release of 3
        ([9, 9, 9, 1, 1, 1, 1, 1], ["open", "close"]),
        ([9, 9, 9, 1, 1, 1, 1, 4, 1, 1, 1, 1, 1], ["open", "close"]),
        ([9, 9, 9, 1, 1, 1, 1, 1, 9, 9, 9], ["open", "close", "open"]),
        ([5, 5, 5, 5, 5], []),  # at the threshold is not above it
    ],
)
@pytest.mark.parametrize("pieces", [1, 2, 100])
def test_k_of_n_and_hysteresis(scores, expected, pieces):
    _, said = play(scores, Rule(3, 5, 5.0, 3.0), pieces)
    assert kinds(said) == expected


def test_open_and_close_share_an_event_and_say_what_happened():
    state, said = play([9, 11, 9, 1, 1, 1, 1, 1], Rule(3, 5, 5.0, 3.0), 100)
    opened, closed = (next(m for m in said if m.kind == kind) for kind in ("open", "close"))
    assert opened.event == closed.event == opened.id != closed.id
    assert (closed.peak, closed.windows) == (11, 6)
    assert state.event is None


def test_ids_are_unique_and_the_same_again():
    first, second = (play([9, 9, 9, 1, 1, 1, 1, 1], Rule(3, 5, 5.0, 3.0), 2)[1] for _ in range(2))
    assert [m.id for m in first] == [m.id for m in second]
    assert len({m.id for m in first}) == len(first)


def test_a_file_that_cannot_be_scored_is_a_message_and_changes_no_state():
    state, said = advance(Rule(1, 1, 5.0, 3.0), RuleState(), [Judged(Verdict("x.wav", error="bad"), "x")], "m", "now")
    assert kinds(said) == ["error"] and state == RuleState()


@pytest.mark.parametrize("wrong", [(0, 5, 5, 3), (6, 5, 5, 3), (1, 5, 3, 5)])
def test_impossible_rules_are_refused(wrong):
    with pytest.raises(ConfigError):
        Rule(*wrong)
