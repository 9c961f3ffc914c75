"""A machine that is watched: its bank, the listener that made it, the back-end and the calibration."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echobank.detection.backends.base import Backend
from echobank.detection.bank import Bank, load_bank
from echobank.detection.calibration import Calibration, calibrate
from echobank.detection.comparable import require_comparable
from echobank.detection.fitted import make
from echobank.detection.header import BankHeader, OwnMachine, Scoring
from echobank.detection.leave_one_out import SelfScores
from echobank.errors import BankError
from echobank.machines.archive import bank_file
from echobank.machines.flags import Flags, machine_flags
from echobank.machines.listener import Heard, Listener
from echobank.machines.traits import SWINGS
from echobank.machines.verdict import REMEMBERED, Verdict
from echobank.models.provenance import Provenance, WindowGrid, require_same
from echobank.models.registry import load_encoder

Float64 = NDArray[np.float64]
ZERO_THRESHOLD = (
    "the alarm threshold is 0, so all sound that is not an exact copy alarms: healthy recordings in the bank sound "
    "exactly alike but were counted as independent; remove the copies, `bank info --rows` lists what there is"
)


@dataclass(frozen=True)
class Machine:
    """Everything that is needed to judge a recording.

    Attributes:
        bank: The healthy rows that it remembers.
        listener: Recording to embeddings.
        backend: Embedding to score, fitted on the bank.
        calibration: The bank's leave-one-out scores.
        rate: The false-alarm rate in force.
        threshold: The score above which a window is anomalous.
        notices: What the user should know of the bank.
        flags: What raises the flags of a window; None where the bank keeps nothing to raise them with.
    """

    bank: Bank
    listener: Listener
    backend: Backend
    calibration: Calibration
    rate: float
    threshold: float
    notices: tuple[str, ...] = ()
    flags: Flags | None = None

    @property
    def name(self) -> str:
        """The user's name of the machine."""
        return own_machine(self.bank).name

    @cached_property
    def _remembered(self) -> frozenset[str]:
        """Hashes of the recordings in the bank: of their bytes, and of their sound where the bank has it.

        A bank of an older version has only the bytes: it recognises its own files, and no copy in another container.
        """
        words = self.bank.columns.words
        columns = (words["sha256"], words["sound_sha256"])
        return frozenset(hashes.word(int(code)) for hashes in columns for code in hashes.used()[0]) - {""}

    def at_rate(self, rate: float) -> "Machine":
        """Return the same machine judging at another false-alarm rate.

        Raises:
            InputError: The bank does not support it.
        """
        return dataclasses.replace(self, rate=rate, threshold=self.calibration.threshold(rate))

    def judge(self, heard: Heard) -> list[Verdict]:
        """Return the verdict on each window of a recording, or the one line of a recording with an error."""
        return self.judge_all([heard])[0]

    def judge_all(self, recordings: Sequence[Heard]) -> list[list[Verdict]]:
        """Return `judge` of each of several recordings; they are compared with the bank together."""
        usable = [heard.vectors for heard in recordings if not heard.error]
        if not usable:
            return [[Verdict(str(heard.path), error=heard.error)] for heard in recordings]
        vectors = np.concatenate(usable)
        scores, near = self.backend.score(vectors), self.backend.nearest(vectors)
        columns = scores, self.calibration.p_values(scores), self.calibration.percentiles(scores), near
        windows = zip(*(column.tolist() for column in columns), strict=True)
        return [self._verdicts(heard, windows) for heard in recordings]

    def _verdicts(self, heard: Heard, windows: Iterator[tuple[float, float, float, int]]) -> list[Verdict]:
        """Return the verdicts on one recording; takes score, p-value, percentile and nearest row of each window."""
        if heard.error:
            return [Verdict(str(heard.path), error=heard.error)]
        known = (REMEMBERED,) if {heard.sha256, heard.sound_sha256} & self._remembered else ()
        judged: list[Verdict] = []
        for i, (score, p_value, percentile, near) in enumerate(islice(windows, len(heard))):
            row = self.bank.rows[near]
            odd = self.flags.judge(heard, i, near) if self.flags else ()
            verdict = Verdict(
                file=str(heard.path),
                start=round(float(heard.starts[i]), 3),
                seconds=round(float(heard.lengths[i]), 3),
                score=score,
                p_value=p_value,
                percentile=percentile,
                decision=int(score > self.threshold),
                nearest=row.file,
                nearest_start=round(row.start, 3),
                level_dbfs=round(float(heard.levels[i]), 1),
                flags="+".join((*heard.flags[i], *known, *(oddity.kind for oddity in odd))),
                findings=odd,
            )
            judged.append(verdict)
        return judged


def assemble(bank: Bank, listener: Listener, notices: tuple[str, ...] = ()) -> Machine:
    """Fit the back-end that the bank's header names and take its calibration.

    Raises:
        BankError: The bank is too small, or damaged.
        InputError: The bank does not support its false-alarm rate.
    """
    calibration = calibration_of(bank)
    rate, threshold = _rate_and_threshold(bank, calibration)
    said = (*notices, *([ZERO_THRESHOLD] if threshold <= 0 else []))
    flags = machine_flags(bank)
    listener = dataclasses.replace(listener, traits=flags is not None)
    return Machine(bank, listener, backend_of(bank), calibration, rate, threshold, said, flags)


def own_machine(bank: Bank) -> OwnMachine:
    """Return what a bank says of an own machine.

    Raises:
        BankError: It is of a DCASE run.
    """
    if bank.header.machine is None:
        raise not_own()
    return bank.header.machine


def provenance_of(bank: Bank) -> Provenance:
    """Return what made a bank.

    Raises:
        BankError: It does not say.
    """
    if bank.header.provenance is None:
        raise not_own()
    return bank.header.provenance


def window_of(header: BankHeader) -> WindowGrid:
    """Return how the recordings of a bank were cut.

    Raises:
        BankError: They were not.
    """
    if header.provenance is None or header.provenance.window is None:
        raise not_own()
    return header.provenance.window


def not_own(where: Path | str = "") -> BankError:
    """Return the error of a bank that is not of an own machine."""
    return BankError(
        "not a bank of an own machine", where=where, hint="banks of `train` are scored by `infer`; use `fit` here"
    )


def rate_and_threshold(bank: Bank) -> tuple[float, float]:
    """Return the false-alarm rate that a bank is set to, and the score above which it calls a window anomalous.

    Raises:
        InputError: The bank does not support the rate.
    """
    return _rate_and_threshold(bank, calibration_of(bank))


def _rate_and_threshold(bank: Bank, calibration: Calibration) -> tuple[float, float]:
    rate = own_machine(bank).rate or calibration.usual_rate()
    return rate, calibration.threshold(rate)


def backend_of(bank: Bank) -> Backend:
    """Return the back-end that a bank's header names, fitted on it.

    Raises:
        BankError: The bank is too small.
    """
    scoring = scoring_of(bank)
    require_comparable(provenance_of(bank).encoder.name, scoring)
    return make(scoring).fit(bank)


def scoring_of(bank: Bank) -> Scoring:
    """Return how a bank is scored.

    Raises:
        BankError: It does not say.
    """
    if bank.header.scoring is None:
        raise not_own()
    return bank.header.scoring


def calibration_of(bank: Bank) -> Calibration:
    """Return the calibration that a bank carries: scores of its rows and of rows that `compact` left out.

    Raises:
        BankError: It carries none.
    """
    groups, codes = bank.columns.words["group"].different, bank.columns.words["group"].codes
    names = [groups[code] for code in codes]
    return calibrate(np.concatenate([own_scores(bank).scores, bank.dropped.scores]), [*names, *bank.dropped.groups])


def own_scores(bank: Bank) -> SelfScores:
    """Return the leave-one-out scores that a bank carries.

    Raises:
        BankError: It carries none.
    """
    if bank.own is None:
        raise not_own()
    return bank.own


def calibrated(bank: Bank) -> Bank:
    """Return the bank with the leave-one-out scores of its rows computed again.

    Raises:
        BankError: Too few rows, or all of one group.
    """
    backend = backend_of(bank)
    scores = backend.self_scores()
    distances, nearest = backend.others()
    return dataclasses.replace(bank, own=SelfScores(scores, nearest=nearest, distances=distances))


def open_machine(
    path: Path | str, *, device: str = "auto", weights: str | None = None, cache: str | None = None
) -> Machine:
    """Open a bank and the encoder that it names.

    Args:
        path: Folder or file of the bank.
        device: Where the encoder runs.
        weights: Weights of the encoder, where they are not in the cache.
        cache: Folder of downloaded weights.

    Raises:
        BankError: Missing, damaged, newer than this program, not of an own machine, or of another encoder.
        WeightsError: The encoder's weights are not there.
    """
    file = bank_file(path)
    bank = load_bank(file)
    listener, notices = listener_of(bank, file, device=device, weights=weights, cache=cache)
    return assemble(bank, listener, notices)


def listener_of(
    bank: Bank, where: Path, *, device: str = "auto", weights: str | None = None, cache: str | None = None
) -> tuple[Listener, tuple[str, ...]]:
    """Return the listener that made a bank, and notices about the bank for the user.

    Raises:
        BankError: Another encoder, or other weights, would be used.
    """
    made, machine = bank.header.provenance, require_own(bank, where).header.machine
    if made is None or machine is None or made.window is None:
        raise not_own(where)
    precision = made.encoder.precision
    encoder = load_encoder(machine.embedding, device=device, precision=precision, weights=weights, cache=cache)
    window = made.window
    listener = Listener(encoder, made.pooling, window.seconds, window.hop, made.layer, made.channel.identity)
    listener = dataclasses.replace(listener, traits=SWINGS in bank.extras)
    return listener, require_same(made, listener.provenance, where)


def require_own(bank: Bank, where: Path | str) -> Bank:
    """Return a bank that is of an own machine.

    Raises:
        BankError: It is of a DCASE run.
    """
    header = bank.header
    made = header.provenance
    if made is None or made.window is None or header.machine is None or header.scoring is None or bank.own is None:
        raise not_own(where)
    return bank
