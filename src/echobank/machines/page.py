"""The page of a machine: digests verdicts, explains the oddest, and hands everything to the report."""

import heapq
import os
from array import array
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from echobank.detection.header import Scoring
from echobank.errors import AudioError, InputError
from echobank.library_versions import library_versions
from echobank.machines.archive import revision_of
from echobank.machines.explain import Explanation, Sound, explain
from echobank.machines.health import counted, describe_health, health, percent
from echobank.machines.loudness import level_beside
from echobank.machines.machine import Machine
from echobank.machines.regions import DECIBEL, FRAME_SECONDS
from echobank.machines.score import score_stream
from echobank.machines.sentences import clock, hertz
from echobank.machines.verdict import Verdict
from echobank.models.logmel import mel_edges_hz
from echobank.report.machine_report import Case, Excerpt, Line, MachinePage, Mark, write_machine_report
from echobank.version import __version__

_RANKED = 100
_CASES = 5
_FULL_SCALE_DB = 20 * np.log10(32768.0)  # log-mel power is at int16 scale
_EXCERPT_SECONDS = 12.0

_Window = tuple[str, float]  # recording, and where the window begins


class Digest:
    """What a page needs of any number of verdicts: a few numbers per window, and the oddest recordings.

    Attributes:
        scores: Score of each window, in order.
        starts: Where each begins, seconds.
        files: Index of its recording.
        levels: Its level, dB of full scale.
        count: Recordings scored.
        odd: Recordings with an anomalous window.
        odd_windows: Anomalous windows.
        flagged: Windows with an odd band or impulses that are not anomalous.
        problems: Why recordings could not be scored; the first hundred.
        failed: How many could not be scored.
    """

    def __init__(self) -> None:
        self.scores, self.starts, self.files, self.levels = array("d"), array("d"), array("q"), array("d")
        self.count = self.odd = self.odd_windows = self.failed = self.flagged = 0
        self.problems: list[str] = []
        self._now: Verdict | None = None
        self._worst: list[tuple[float, int, Verdict]] = []

    def see(self, verdict: Verdict) -> None:
        """Take one verdict; those of a recording come together."""
        if verdict.error:
            self.failed += 1
            self.problems += [verdict.error] if len(self.problems) < _RANKED else []
            return
        if self._now is None or verdict.file != self._now.file:
            self._finish()
            self._now = verdict
        elif _score(verdict) > _score(self._now):
            self._now = verdict
        self.scores.append(_score(verdict))
        self.starts.append(verdict.start or 0.0)
        self.files.append(self.count)
        self.levels.append(np.nan if verdict.level_dbfs is None else verdict.level_dbfs)
        self.odd_windows += verdict.decision or 0
        self.flagged += bool(verdict.findings) and not verdict.decision

    def worst(self) -> list[Verdict]:
        """Return the worst window of each recording, the oddest first; of the oddest hundred recordings."""
        self._finish()
        return [verdict for _, _, verdict in sorted(self._worst, key=lambda item: item[:2], reverse=True)]

    def _finish(self) -> None:
        if self._now is None:
            return
        heapq.heappush(self._worst, (_score(self._now), -self.count, self._now))
        if len(self._worst) > _RANKED:
            heapq.heappop(self._worst)
        self.odd += self._now.decision or 0
        self.count += 1
        self._now = None


def digest_of(machine: Machine, recordings: Sequence[Path]) -> Digest:
    """Score recordings and return what a page needs of them."""
    digest = Digest()
    for verdicts in score_stream(machine, recordings):
        for verdict in verdicts:
            digest.see(verdict)
    return digest


def write_page(path: Path | str, machine: Machine, digest: Digest, asked: Explanation | None = None) -> None:
    """Explain the oddest recordings and write a page about all; a window that was asked about comes first.

    Raises:
        InputError: The libraries of the extra `report` are not installed.
        OutputError: The page cannot be written.
    """
    write_machine_report(path, make_page(machine, digest, asked))


def make_page(machine: Machine, digest: Digest, asked: Explanation | None = None) -> MachinePage:
    """Return the page of recordings that were judged."""
    worst = digest.worst()
    odd = [verdict for verdict in worst if verdict.decision]
    short = _short_names([verdict.file for verdict in worst])
    first = {_window(asked.verdict): asked} if asked else {}
    others, gone = _explained(machine, [it for it in odd[:_CASES] or worst[:1] if _window(it) not in first])
    explained = {**first, **others}
    shown = list(explained)
    return MachinePage(
        title=f"What {machine.name} sounds like",
        made=f"Made on {datetime.now().astimezone():%Y-%m-%d at %H:%M %Z} by echobank {__version__}.",
        conclusion=(
            *_conclusion(machine, digest, worst),
            *level_beside(machine, np.array(digest.levels), np.array(digest.scores)),
        ),
        alarm=bool(odd),
        scores=np.array(digest.scores),
        starts=np.array(digest.starts),
        files=np.array(digest.files),
        threshold=machine.threshold,
        ranking=tuple(_line(verdict, shown, short) for verdict in worst),
        recordings=digest.count,
        cases=tuple(_case(it, short) for it in explained.values()),
        problems=(*digest.problems, *gone),
        failed=digest.failed + len(gone),
        health=tuple(f"{line[0].upper()}{line[1:]}." for line in describe_health(health(machine.bank))),
        settings=_settings(machine),
        versions=tuple(library_versions().items()),
    )


def _score(verdict: Verdict) -> float:
    return verdict.score if verdict.score is not None else -np.inf


def _conclusion(machine: Machine, digest: Digest, worst: Sequence[Verdict]) -> tuple[str, ...]:
    if not digest.count:
        return ("None of the recordings could be scored.",)
    windows, usual = len(digest.scores), machine.rate * len(digest.scores)
    verb = "is" if digest.odd_windows == 1 else "are"
    expected = (
        f"{digest.odd_windows} of {windows} windows {verb} above the threshold; "
        f"of healthy sound about {usual:.2g} would be ({percent(machine.rate)})."
    )
    if 0 < digest.odd_windows <= usual:
        expected += " So this may well be chance."
    if digest.flagged and machine.flags:
        expected += (
            f" There is an odd band or impulses in {counted(digest.flagged, 'window')} below the threshold; of "
            f"healthy windows up to {percent(machine.flags.rate)} have each."
        )
    if not digest.odd:
        which = "The recording sounds" if digest.count == 1 else f"All {digest.count} recordings sound"
        return (f"{which} like the healthy {machine.name}.", expected)
    name = Path(worst[0].file).name
    if digest.count == 1:
        return (f"{name} sounds unlike the healthy {machine.name}, most of all {_place(worst[0])}.", expected)
    return (
        f"{digest.odd} of {digest.count} recordings sound unlike the healthy {machine.name}; the oddest is {name}.",
        expected,
    )


def _explained(machine: Machine, shown: Sequence[Verdict]) -> tuple[dict[_Window, Explanation], tuple[str, ...]]:
    """Return explanations, and why some recordings have none: they went or changed after they were scored."""
    explained: dict[_Window, Explanation] = {}
    gone = []
    for verdict in shown:
        try:
            explained[_window(verdict)] = explain(machine, verdict.file, verdict.start)
        except (AudioError, InputError) as error:
            gone.append(str(error))
    return explained, tuple(gone)


def _short_names(files: Sequence[str]) -> dict[str, str]:
    """Return the names of recordings without the folders that all of them share."""
    if len(files) < 2:
        return {file: Path(file).name for file in files}
    try:
        shared = os.path.commonpath([Path(file).parent for file in files])
    except ValueError:  # absolute and relative names, or two drives
        return {file: file for file in files}
    return {file: Path(file).relative_to(shared).as_posix() for file in files}


def _place(verdict: Verdict) -> str:
    return f"from {clock(verdict.start or 0.0)}"


def _window(verdict: Verdict) -> _Window:
    return str(Path(verdict.file)), verdict.start or 0.0


def _line(verdict: Verdict, shown: Sequence[_Window], short: Mapping[str, str]) -> Line:
    words = "anomalous" if verdict.decision else "as usual"
    if verdict.flags:
        words += f" ({verdict.flags.replace('+', ', ').replace('_', ' ')})"
    anchor = f"case-{shown.index(_window(verdict)) + 1}" if _window(verdict) in shown else ""
    return Line(short[verdict.file], _place(verdict), f"{verdict.score:.4g}", f"{verdict.p_value:.3f}", words, anchor)


def _case(it: Explanation, short: Mapping[str, str]) -> Case:
    verdict = it.verdict
    marks = tuple(
        Mark(
            finding.region.start,
            finding.region.end,
            finding.region.low_hz,
            finding.region.high_hz,
            f"{hertz(finding.region.low_hz)} to {hertz(finding.region.high_hz)}, {finding.region.excess_db:+.0f} dB",
        )
        for finding in it.findings
    )
    marks += _clicks(it)
    word = "odd sound" if verdict.decision else "sound"
    odd = _excerpt(f"{Path(verdict.file).name}, the {word} {_place(verdict)}", it.sound, verdict.start or 0.0, marks)
    healthy = None
    if it.nearest:
        title = f"{Path(verdict.nearest).name}, the most similar healthy sound"
        healthy = _excerpt(title, it.nearest, verdict.nearest_start or 0.0)
    return Case(short.get(str(Path(verdict.file)), Path(verdict.file).name), it.sentences, odd, healthy)


def _clicks(it: Explanation) -> tuple[Mark, ...]:
    train = it.impulses
    if train is None:
        return ()
    rate = f", {train.rate_hz:.3g} Hz" if train.rate_hz else ""
    return (Mark(train.first, train.last, train.low_hz, train.high_hz, f"{train.count} clicks{rate}"),)


def _excerpt(title: str, sound: Sound, start: float, marks: tuple[Mark, ...] = ()) -> Excerpt:
    """Return at most twelve seconds of a window, around its oddest region, so that the page stays small."""
    seconds = len(sound.samples) / sound.rate
    begin = 0.0
    if seconds > _EXCERPT_SECONDS and marks:
        begin = min(max(0.0, marks[0].start - 1.0), seconds - _EXCERPT_SECONDS)
    end = min(seconds, begin + _EXCERPT_SECONDS)
    first, last = round(begin / FRAME_SECONDS), max(round(end / FRAME_SECONDS), 1)
    inside = tuple(
        Mark(max(mark.start - begin, 0.0), min(mark.end, end) - begin, mark.low_hz, mark.high_hz, mark.label)
        for mark in marks
        if mark.start < end and mark.end > begin
    )
    level = sound.mel[first:last].astype(np.float64) * DECIBEL - _FULL_SCALE_DB
    samples = sound.samples[round(begin * sound.rate) : round(end * sound.rate)]
    return Excerpt(title, samples, sound.rate, start + begin, level, FRAME_SECONDS, mel_edges_hz()[:, ::2], inside)


def _settings(machine: Machine) -> tuple[tuple[str, str], ...]:
    bank = machine.bank
    made, scoring = machine.listener.provenance, bank.header.scoring or Scoring()
    encoder, listener = made.encoder, machine.listener
    return (
        ("machine", machine.name),
        ("revision of the bank", str(revision_of(bank))),
        ("window", f"{listener.seconds:g} s every {listener.hop:g} s"),
        ("encoder", encoder.name),
        ("weights", encoder.weights_sha256 or "none"),
        ("sample rate", f"{encoder.sample_rate} Hz"),
        ("channel", str(made.channel)),
        ("back-end", f"{scoring.backend}, {scoring.metric}, k = {scoring.k}"),
        ("false-alarm rate", percent(machine.rate)),
        ("threshold", f"{machine.threshold:.6g}"),
    )
