"""Decide again on stored scores, at another false-alarm rate, from what the banks remember of their calibration."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from echobank.detection.bank import load_bank
from echobank.detection.decision import decide
from echobank.detection.fitted import ScoringSettings, make, thresholds_of
from echobank.detection.states import state_scores
from echobank.detection.threshold import Threshold
from echobank.errors import BankError
from echobank.evaluation.submission import DOMAINS, ScoredClip, read_scores, write_domain_tables, write_machine
from echobank.evaluation.tables import Key
from echobank.storage import atomic_path


@dataclass(frozen=True)
class Decided:
    """The new decisions of one machine and section.

    Attributes:
        key: Machine and section.
        thresholds: Where a score becomes anomalous now.
        clips: Test clips.
        called: Those called anomalous.
    """

    key: Key
    thresholds: tuple[Threshold, ...]
    clips: int
    called: int


def decide_again(folder: Path, method: str, rate: float, leave_out: str = "clip") -> tuple[Decided, ...]:
    """Write the decision CSVs of a results folder again; scores stay as they are and nothing is fitted.

    The domain of a test clip is taken as unknown. Nothing is written unless every machine can be decided on.

    Args:
        folder: `output.dir` of a run, with its banks.
        method: How thresholds are found, see `detection.decision`.
        rate: False-alarm rate.
        leave_out: "clip" or "state", what each clip of a bank is scored without.

    Raises:
        InputError: There are no scores, or the bank has too few clips for the rate.
        BankError: A bank is missing, damaged, holds no scores of its own, or is of one state.
        ConfigError: Unknown method.
        OutputError: A table cannot be written.
    """
    scores = read_scores(folder)
    thresholds = {key: calibrated(folder, key, method, rate, leave_out) for key in scores}
    decided: list[Decided] = []
    every: dict[str, list[ScoredClip]] = {}
    for key, own in scores.items():
        called = decide(np.array(list(own.values())), None, thresholds[key])
        domains = _domains(folder, key[0])
        clips = [
            ScoredClip(name, domains.get(name, "unknown"), score, int(decision))
            for (name, score), decision in zip(own.items(), called, strict=True)
        ]
        write_machine(folder, *key, clips)
        for package in sorted(folder.glob(f"task2/*/decision_result_{key[0]}_section_{key[1]}_test.csv")):
            with atomic_path(package) as temporary:
                temporary.write_bytes((folder / package.name).read_bytes())
        every.setdefault(key[0], []).extend(clips)
        decided.append(Decided(key, thresholds[key], len(clips), int(called.sum())))
    for machine, clips in every.items():
        write_domain_tables(folder, machine, clips)
    return tuple(decided)


def calibrated(folder: Path, key: Key, method: str, rate: float, leave_out: str = "clip") -> tuple[Threshold, ...]:
    """Return thresholds from the scores of its own rows that are stored in a bank; augmented rows do not count.

    Where states are to be left out and the bank was not trained so, its rows are scored again without them.

    Raises:
        As `decide_again`.
    """
    path = folder / "banks" / f"{key[0]}_section_{key[1]}.safetensors"
    bank = load_bank(path)
    trained = bank.header.scoring
    if bank.own is None or not isinstance(trained, ScoringSettings):
        raise _no_scores(path)
    settings = replace(trained, decision=method, false_alarm_rate=rate, leave_out=leave_out)
    if leave_out == "clip":
        return thresholds_of(bank, bank.own.scores, settings)
    stored = bank.own.states
    return thresholds_of(bank, state_scores(bank, lambda: make(settings)) if stored is None else stored, settings)


def _no_scores(path: Path) -> BankError:
    return BankError("the bank holds no scores of its own rows", where=path, hint="train again")


def _domains(folder: Path, machine: str) -> dict[str, str]:
    """Return the domain of each clip from the tables by domain."""
    domains = {}
    for domain in DOMAINS:
        path = folder / f"{machine}_{domain}.csv"
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as stream:
                domains.update({row["file_name"]: domain for row in csv.DictReader(stream)})
    return domains
