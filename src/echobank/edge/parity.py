"""Parity: recordings scored by the machine and by its package, and how far the two are apart."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.data.audio import opened
from echobank.detection.backends.base import Backend, RowsOfBank
from echobank.detection.backends.fusion import Fusion
from echobank.detection.backends.part import Part
from echobank.edge.bundle import GRAPH, EdgeFacts, read_facts
from echobank.errors import BankError, EchobankError, WeightsError
from echobank.machines.archive import bank_file
from echobank.machines.machine import Machine
from echobank.machines.score import score_stream
from echobank.machines.verdict import ODD_BAND, Verdict
from echobank.progress import Progress, silent
from echobank.storage import sha256_file

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
TIE = 1e-6  # of a distance: two rows that are nearer to each other than this are equally near
_LOW = 0.01  # of the threshold: lower scores are those of recordings in the bank, which lie at rounding from 0


@dataclass(frozen=True)
class EdgeParity:
    """The outcome of a comparison.

    Attributes:
        windows: Windows scored by both.
        recordings: Recordings that they are of.
        largest: Largest difference of a score, as a share of it, or of a hundredth of the threshold where it is lower.
        margin: The least difference between a score and the threshold, as a share of the threshold.
        decisions: Windows whose decisions differ.
        neighbours: Windows whose nearest healthy row differs.
        ties: Those of them for which both rows are equally near, up to `TIE`.
        rank: Spearman correlation of the two scores; NaN for fewer than three windows.
        odd_bands: Windows whose flag `odd_band`, or its band, differs.
        left_out: (recording, reason) of those that could not be compared.
    """

    windows: int
    recordings: int
    largest: float
    margin: float
    decisions: int
    neighbours: int
    ties: int
    rank: float
    odd_bands: int
    left_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class EdgeScore:
    """What a graph says of one window; `odd_band` is its edges in Hz and how far it stands out, or empty."""

    start: float
    seconds: float
    score: float
    p_value: float
    decision: int
    nearest: int
    odd_band: tuple[float, ...]


class EdgeRunner:
    """A package, opened: recordings at its rate to scores, as the device makes them.

    Args:
        folder: The package.

    Raises:
        BankError: As `read_facts`, or the graph is of another bank than the package says.
        WeightsError: onnxruntime is not installed.
    """

    def __init__(self, folder: Path | str) -> None:
        self.facts = read_facts(folder)
        try:
            import onnxruntime
        except ImportError as error:
            raise WeightsError("onnxruntime is not installed", hint="pip install 'echobank[onnx]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        path = str(Path(folder) / GRAPH)
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        said = self._session.get_modelmeta().custom_metadata_map.get("bank_sha256")
        if said != self.facts.bank_sha256:
            raise BankError("the graph is of another bank than the package says", where=folder, hint="export it again")

    def score(self, samples: Float32) -> Iterator[EdgeScore]:
        """Yield what the graph says of each window of a recording float32[T] at the package's rate."""
        for begin, count in cuts(len(samples), self.facts):
            outputs: Sequence[Any] = self._session.run(None, fed(samples, begin, count, self.facts))
            score, p_value, decision, nearest, *odd = (output.item() for output in outputs)
            rate = self.facts.encoder_rate
            band = tuple(odd) if any(odd) else ()
            yield EdgeScore(begin / rate, count / rate, score, p_value, decision, nearest, band)


def cuts(length: int, facts: EdgeFacts) -> Iterator[tuple[int, int]]:
    """Yield begin and length at the encoder's rate of each window of a recording, as `data.windows` cuts it."""
    total = int(length / (facts.sample_rate / facts.encoder_rate) + 0.5)  # in float64, as the resampler counts
    size, hop, number, end = facts.window_samples, facts.hop_samples, 0, 0
    while round(number * hop) + size <= total:
        yield round(number * hop), size
        number, end = number + 1, round(number * hop) + size
    if end < total and round(number * hop) < total:
        yield max(0, total - size), min(size, total)


def fed(samples: Float32, begin: int, count: int, facts: EdgeFacts) -> dict[str, NDArray[Any]]:
    """Return what the graph takes for a window: its samples, at another rate with what lies before and behind it."""
    block, skip = divmod(begin, facts.outputs)
    start = block * facts.period - facts.reach
    stop = start + -(-(skip + count) // facts.outputs) * facts.period + 2 * facts.reach
    silence = max(0, -start), max(0, stop - len(samples))
    heard = np.pad(samples[max(0, start) : stop], silence)
    if not facts.resamples:
        return {"samples": heard}
    first = np.array([block == 0], np.float32)
    ends = (round(place * (facts.sample_rate / facts.encoder_rate)) for place in (begin, begin + count))
    under = np.array([min(place, len(samples)) - start for place in ends])
    return {"samples": heard, "skip": np.array([skip]), "count": np.array([count]), "first": first, "under": under}


def compare_package(
    machine: Machine, bank: Path | str, folder: Path | str, paths: Sequence[Path], progress: Progress = silent
) -> EdgeParity:
    """Score recordings with a machine and with its package.

    Args:
        machine: The machine.
        bank: Path of its bank.
        folder: The package.
        paths: Recordings at the package's rate; others are left out.
        progress: Shows how far it is.

    Raises:
        BankError: The package is of another bank, or its files do not belong together.
    """
    runner = EdgeRunner(folder)
    if runner.facts.bank_sha256 != sha256_file(bank_file(bank)):
        raise BankError("the package is of another state of the bank", where=folder, hint="export it again")
    compared = _Compared(machine)
    left_out = []
    judged: Iterable[tuple[Path, list[Verdict]]] = zip(paths, score_stream(machine, paths), strict=True)
    for path, verdicts in progress(judged, total=len(paths), label="compare"):
        try:
            ours = list(runner.score(read_samples(path, runner.facts)))
            if verdicts[0].error:
                raise EchobankError(verdicts[0].error)
        except EchobankError as error:
            left_out.append((str(path), str(error)))
            continue
        compared.take(path, verdicts, ours)
    return compared.result(left_out)


class _Compared:
    """The results of two ways of scoring, recording by recording."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._rows = {(row.file, round(row.start, 3)): number for number, row in enumerate(machine.bank.rows)}
        self._scores: list[tuple[float, float]] = []
        self._recordings = self._decisions = self._neighbours = self._ties = self._odd_bands = 0

    def take(self, path: Path, verdicts: Sequence[Verdict], ours: Sequence[EdgeScore]) -> None:
        """Add a recording: what the machine and what the package says of each window."""
        self._recordings += 1
        for number, (verdict, scored) in enumerate(zip(verdicts, ours, strict=True)):
            assert verdict.score is not None and verdict.nearest_start is not None
            self._scores.append((verdict.score, scored.score))
            self._decisions += verdict.decision != scored.decision
            bands = [(odd.low_hz, odd.high_hz) for odd in verdict.findings if odd.kind == ODD_BAND]
            self._odd_bands += bands != ([scored.odd_band[:2]] if scored.odd_band else [])
            near = self._rows[verdict.nearest, verdict.nearest_start]
            if near != scored.nearest:
                self._neighbours += 1
                self._ties += self._equally_near(path, number, near, scored.nearest)

    def _equally_near(self, path: Path, window: int, one: int, other: int) -> bool:
        (heard,) = self._machine.listener.hear([path])
        first, second = distances_of(self._machine.backend, heard.vectors[window])[[one, other]]
        return bool(abs(second - first) <= TIE * max(first, second))

    def result(self, left_out: Sequence[tuple[str, str]]) -> EdgeParity:
        """Return the outcome."""
        theirs, ours = np.array(self._scores, np.float64).reshape(-1, 2).T
        threshold = self._machine.threshold
        scale = np.maximum(np.maximum(np.abs(theirs), _LOW * abs(threshold)), np.finfo(float).tiny)
        return EdgeParity(
            windows=len(theirs),
            recordings=self._recordings,
            largest=float((np.abs(theirs - ours) / scale).max(initial=0.0)),
            margin=float((np.abs(theirs - threshold) / max(abs(threshold), np.finfo(float).tiny)).min(initial=np.inf)),
            decisions=self._decisions,
            neighbours=self._neighbours,
            ties=self._ties,
            odd_bands=self._odd_bands,
            rank=_rank_correlation(theirs, ours),
            left_out=tuple(left_out),
        )


def distances_of(backend: Backend, embedding: Float32) -> Float64:
    """Return the distance of an embedding float32[H, D] to every row, as the back-end's `nearest` takes it."""
    if isinstance(backend, Part):
        return distances_of(backend.fitted_, backend.taken(embedding[None])[0])
    if isinstance(backend, Fusion):
        return distances_of(backend.witness, embedding)
    assert isinstance(backend, RowsOfBank)
    return np.asarray(backend.rows_().distances(embedding[None])[0].mean(axis=0))


def _rank_correlation(theirs: Float64, ours: Float64) -> float:
    if len(theirs) < 3:
        return float("nan")
    from scipy.stats import spearmanr

    return float(spearmanr(theirs, ours).statistic)


def read_samples(path: Path, facts: EdgeFacts) -> Float32:
    """Return one channel of a recording at its own rate.

    Raises:
        EchobankError: It cannot be read, or has another rate than the package.
    """
    with opened(path, facts.channel) as (stream, _):
        if stream.rate != facts.sample_rate:
            raise EchobankError(f"{path}: {stream.rate} Hz, the package hears {facts.sample_rate} Hz")
        return np.concatenate(list(stream.blocks))
