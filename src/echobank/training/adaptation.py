"""A handful of clips of a new operating state: ways to take them into a bank, compared on normal clips only.

Each way is judged on new clips that it has not seen. Changed copies of those clips stand in for anomalies, since no
real one may be looked at: they show whether a way still hears a difference, not whether it finds a fault.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.detection.bank import Bank, Row
from echobank.detection.enlarge import mixtures
from echobank.detection.fitted import ScoringSettings, make
from echobank.errors import BankError, InputError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

NEW_SHARE = 0.9  # MemMixup: v = 0.9 t + 0.1 s
NEIGHBOURS = 5  # known rows that each new row is mixed with
FALSE_ALARM_RATE = 0.1


@dataclass(frozen=True)
class Way:
    """One way to take new clips in.

    Attributes:
        name: Its name, one word.
        keep: Whether the new clips enter the bank at all.
        enlarge: Whether mixtures of new and known rows enter too.
        backend: Back-end instead of the configured one; empty keeps that.
    """

    name: str
    keep: bool = True
    enlarge: bool = False
    backend: str = ""

    def settings(self, configured: ScoringSettings) -> ScoringSettings:
        """Return how a bank of this way is scored."""
        return dataclasses.replace(configured, backend=self.backend, params={}) if self.backend else configured


NOTHING = Way("nothing", keep=False)
ADDED = Way("added")
ENLARGED = Way("enlarged", enlarge=True)
DENSITY = Way("domain-wise density", backend="domain_ld")
FINETUNED = Way("fine-tuned")
WAYS = (NOTHING, ADDED, ENLARGED, DENSITY)


@dataclass(frozen=True)
class Fold:
    """What one judgement sees: vectors of one encoder.

    Attributes:
        known: The bank as it was.
        kept: New clips that the way may use; None for none.
        left_out: New clips that it has not seen, float32[n, H, D].
        changed: Changed copies of those, float32[m, H, D].
    """

    known: Bank
    kept: Bank | None
    left_out: Float32
    changed: Float32


@dataclass(frozen=True)
class Outcome:
    """The outcome of one way.

    Attributes:
        way: The way.
        auc_known: Area under the curve of known normals (leave-one-out) against changed copies.
        auc_new: The same of left-out new normals.
        false_alarms: Share of left-out new normals above the 90th percentile of the known ones.
        problem: Why it could not be judged; empty when it could.
    """

    way: Way
    auc_known: float = 0.0
    auc_new: float = 0.0
    false_alarms: float = 1.0
    problem: str = ""

    @property
    def value(self) -> float:
        """Harmonic mean of the two areas, as the official score would take them; 0 when there is a problem."""
        total = self.auc_known + self.auc_new
        return 2 * self.auc_known * self.auc_new / total if total and not self.problem else 0.0


def leave_one_out(known: Bank, new: Bank, changed: Float32) -> list[Fold]:
    """Return one fold per new clip, in which it is the one that was not seen.

    Args:
        known: The bank as it was.
        new: The new clips, n rows of the same encoder.
        changed: Changed copies of each, float32[n, S, H, D].

    Raises:
        InputError: There are fewer than two new clips.
    """
    if len(new) < 2:
        raise InputError("two or more new clips are needed to compare ways of adapting", value=len(new))
    positions = np.arange(len(new))
    return [Fold(known, new.select(positions != i), new.vectors[i : i + 1], changed[i]) for i in positions]


def assess(way: Way, folds: Sequence[Fold], configured: ScoringSettings) -> Outcome:
    """Return how a way does on the clips that each fold leaves out.

    Scores of a fold are z-scored by those of its known normals, so that folds can be put together.
    """
    known, new, changed = [], [], []
    settings = way.settings(configured)
    try:
        for fold in folds:
            bank = merge_banks(way, fold.known, fold.kept)
            backend = make(settings).fit(bank)
            old = {row.file for row in fold.known.rows}
            genuine = np.array([row.file in old and not row.augmentation for row in bank.rows])
            own = backend.self_scores()[genuine]
            centre, spread = own.mean(), max(float(own.std()), 1e-12)
            known.append((own - centre) / spread)
            new.append((backend.score(fold.left_out) - centre) / spread)
            changed.append((backend.score(fold.changed) - centre) / spread)
    except BankError as error:
        return Outcome(way, problem=str(error))
    normal, target, stand_in = (np.concatenate(parts) for parts in (known, new, changed))
    limit = np.quantile(normal, 1 - FALSE_ALARM_RATE)
    return Outcome(way, _auc(normal, stand_in), _auc(target, stand_in), float((target > limit).mean()))


def merge_banks(way: Way, known: Bank, new: Bank | None) -> Bank:
    """Return the bank that a way makes of what is known and the new clips."""
    if not way.keep or new is None:
        return known
    banks = [known, new, *([enlarge(known, new)] if way.enlarge else [])]
    rows = tuple(row for bank in banks for row in bank.rows)
    return Bank(np.concatenate([bank.vectors for bank in banks]), rows, known.header)


def enlarge(known: Bank, new: Bank) -> Bank:
    """Return mixtures of each new row with its nearest known rows (MemMixup), in the group of the new row."""
    near, mixed = mixtures(new.vectors, known.vectors, NEIGHBOURS, NEW_SHARE)
    count = near.shape[1]
    rows = [
        dataclasses.replace(row, group=row.group or row.file, augmentation=f"mixture={number}")
        for row in new.rows
        for number in range(count)
    ]
    return Bank(mixed.astype(np.float32), rows, known.header)


def new_bank(vectors: Float32, rows: Sequence[Row], known: Bank) -> Bank:
    """Return the new clips as a bank, as rows of the domain "target" of the known bank's machine."""
    first = known.rows[0]
    stated = [dataclasses.replace(r, machine=first.machine, section=first.section, domain="target") for r in rows]
    return Bank(vectors, tuple(stated), known.header)


def choose(outcomes: Sequence[Outcome]) -> tuple[Outcome, str]:
    """Return the best outcome and why it was chosen, in a sentence; the first of equals, the simplest, wins.

    Raises:
        BankError: None of the ways could be judged.
    """
    best = max(outcomes, key=lambda outcome: outcome.value)
    if best.problem or not best.value:
        raise BankError(f"no way of adapting could be judged ({outcomes[0].problem})")
    others = [o for o in outcomes if o is not best and not o.problem]
    runner = max(others, key=lambda outcome: outcome.value, default=None)
    why = (
        f"{best.way.name}: left-out normals against changed copies {100 * best.value:.1f} %"
        f" (known {100 * best.auc_known:.1f}, new {100 * best.auc_new:.1f}),"
        f" {100 * best.false_alarms:.0f} % of the left-out new clips above the known ones' 90th percentile"
    )
    if runner:
        why += f"; next is {runner.way.name} with {100 * runner.value:.1f} % and {100 * runner.false_alarms:.0f} %"
    return best, why


def _auc(normal: Float64, anomalous: Float64) -> float:
    from sklearn.metrics import roc_auc_score

    truth = np.repeat([0, 1], [len(normal), len(anomalous)])
    return float(roc_auc_score(truth, np.concatenate([normal, anomalous])))
