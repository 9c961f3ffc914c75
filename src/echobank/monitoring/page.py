"""The page of a machine: scores recordings, explains the oddest, and hands everything to the report."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from echobank.monitoring.archive import revision_of
from echobank.monitoring.explain import Explanation, Sound, clock, explain, hertz
from echobank.monitoring.health import describe_health, health, percent
from echobank.monitoring.machine import Machine, Verdict
from echobank.monitoring.regions import DECIBEL, FRAME_SECONDS, mel_edges_hz
from echobank.monitoring.score import score_stream
from echobank.progress import Progress, silent
from echobank.report.machine_report import Case, Excerpt, Line, MachinePage, Mark, write_machine_report

_RANKED = 100
_CASES = 5
_FULL_SCALE_DB = 20 * np.log10(32768.0)  # log-mel power is at int16 scale
_EXCERPT_SECONDS = 12.0


def write_page(path: Path | str, machine: Machine, recordings: Sequence[Path], progress: Progress = silent) -> None:
    """Score recordings and write a page about them.

    Raises:
        InputError: The libraries of the extra `report` are not installed.
        OutputError: The page cannot be written.
    """
    judged = list(progress(score_stream(machine, recordings), total=len(recordings), label="report"))
    write_machine_report(path, make_page(machine, judged))


def make_page(machine: Machine, judged: Sequence[Sequence[Verdict]]) -> MachinePage:
    """Return the page of recordings that were judged: the verdicts of each recording."""
    scored = [verdicts for verdicts in judged if verdicts and not verdicts[0].error]
    worst = sorted((max(verdicts, key=_score) for verdicts in scored), key=_score, reverse=True)
    odd = [verdict for verdict in worst if verdict.decision]
    shown = odd[:_CASES] or worst[:1]
    short = _short_names([verdict.file for verdict in worst])
    return MachinePage(
        title=f"What {machine.name} sounds like",
        conclusion=_conclusion(machine, len(scored), odd, worst),
        alarm=bool(odd),
        scores=np.array([_score(verdict) for verdicts in scored for verdict in verdicts]),
        files=np.repeat(np.arange(len(scored)), [len(verdicts) for verdicts in scored]),
        threshold=machine.threshold,
        ranking=tuple(_line(verdict, shown, short) for verdict in worst[:_RANKED]),
        cases=tuple(_case(explain(machine, verdict.file, verdict.start), short[verdict.file]) for verdict in shown),
        problems=tuple(verdicts[0].error for verdicts in judged if verdicts and verdicts[0].error),
        health=tuple(f"{line[0].upper()}{line[1:]}." for line in describe_health(health(machine.bank))),
        settings=_settings(machine),
        versions=tuple((str(k), str(v)) for k, v in machine.bank.settings.get("versions", {}).items()),
    )


def _score(verdict: Verdict) -> float:
    return verdict.score if verdict.score is not None else -np.inf


def _conclusion(machine: Machine, count: int, odd: Sequence[Verdict], worst: Sequence[Verdict]) -> tuple[str, ...]:
    if not count:
        return ("None of the recordings could be scored.",)
    expected = f"Of healthy recordings, about {percent(machine.rate)} of the windows would be called anomalous too."
    if not odd:
        return (f"All {count} recordings sound like the healthy {machine.name}.", expected)
    which = Path(worst[0].file).name
    return (
        f"{len(odd)} of {count} recordings sound unlike the healthy {machine.name}; the oddest is {which}.",
        expected,
    )


def _short_names(files: Sequence[str]) -> dict[str, str]:
    """Return the names of recordings without the folders that all of them share."""
    if len(files) < 2:
        return {file: Path(file).name for file in files}
    try:
        shared = os.path.commonpath([Path(file).parent for file in files])
    except ValueError:  # absolute and relative names, or two drives
        return {file: file for file in files}
    return {file: Path(file).relative_to(shared).as_posix() for file in files}


def _line(verdict: Verdict, shown: Sequence[Verdict], short: Mapping[str, str]) -> Line:
    words = "anomalous" if verdict.decision else "as usual"
    if verdict.flags:
        words += f" ({verdict.flags.replace('+', ', ')})"
    anchor = f"case-{shown.index(verdict) + 1}" if verdict in shown else ""
    place = f"from {clock(verdict.start or 0.0)}"
    return Line(short[verdict.file], place, f"{verdict.score:.4g}", f"{verdict.p_value:.3f}", words, anchor)


def _case(it: Explanation, name: str) -> Case:
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
    odd = _excerpt(f"{Path(verdict.file).name}, the odd sound", it.sound, verdict.start or 0.0, marks)
    healthy = None
    if it.nearest:
        title = f"{Path(verdict.nearest).name}, the most similar healthy sound"
        healthy = _excerpt(title, it.nearest, verdict.nearest_start or 0.0)
    return Case(name, it.sentences, odd, healthy)


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
    encoder, window, scoring = bank.made_by["encoder"], bank.made_by["window"], bank.settings["scoring"]
    return (
        ("machine", machine.name),
        ("revision of the bank", str(revision_of(bank))),
        ("window", f"{window['seconds']:g} s every {window['hop']:g} s"),
        ("encoder", str(encoder["name"])),
        ("weights", str(encoder["weights_sha256"]) or "none"),
        ("sample rate", f"{encoder['sample_rate']} Hz"),
        ("channel", str(bank.made_by["channel"])),
        ("back-end", f"{scoring['backend']}, {scoring['metric']}, k = {scoring['k']}"),
        ("false-alarm rate", percent(machine.rate)),
        ("threshold", f"{machine.threshold:.6g}"),
    )
