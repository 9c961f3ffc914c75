"""Stage three: score every test clip against the bank of its machine and section, decide, and write the CSVs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from echobank.data.dcase import Recording
from echobank.detection.bank import load_bank
from echobank.detection.fitted import FittedDetector, fallen_back, fit_detector
from echobank.errors import InputError
from echobank.evaluation.level_alone import LEVELS, Levels, write_levels
from echobank.evaluation.metrics import Evaluation, evaluate
from echobank.evaluation.package import write_package
from echobank.evaluation.submission import ScoredClip, write_domain_tables, write_machine
from echobank.evaluation.tables import Key
from echobank.evaluation.truth import load_truth
from echobank.models.feeding import Skipped
from echobank.models.provenance import require_same
from echobank.pipeline.run import Run
from echobank.pipeline.system_facts import system_facts
from echobank.pipeline.train import scoring_settings


@dataclass(frozen=True)
class Inferred:
    """What was scored and written.

    Attributes:
        clips: Test clips scored, by machine.
        files: Everything that was written, but for the levels.
        skipped: Recordings that were left out.
        notices: What the user should know of the banks.
        levels: The tables of levels that were written beside the scores.
    """

    clips: dict[str, int]
    files: tuple[Path, ...]
    skipped: tuple[Skipped, ...]
    notices: tuple[str, ...] = ()
    levels: tuple[Path, ...] = ()


def infer(run: Run) -> Inferred:
    """Score the test clips of every machine.

    Raises:
        InputError: There are no test clips.
        BankError: A bank is missing, damaged, or made by another encoder or pooling.
        OutputError: A file cannot be written.
    """
    files: list[Path] = []
    skipped: list[Skipped] = []
    counts: dict[str, int] = {}
    every: dict[Key, list[ScoredClip]] = {}
    notices: list[str] = []
    levels: list[Path] = []
    for machine in run.dataset.machines:
        scored: list[ScoredClip] = []
        for section in run.dataset.sections(machine):
            recordings = list(run.dataset.select(machine, section, "test"))
            if recordings:
                detector, said = load_detector(run, machine, section)
                notices += said
                clips, left_out = _score(run, detector, recordings, f"{machine} {section} test")
                skipped += left_out
                if clips:
                    files += write_machine(run.output, machine, section, clips)
                    levels += _write_levels(run, detector, recordings, clips)
                    every[machine, section] = clips
                    scored += clips
        if scored:
            counts[machine] = len(scored)
            files += write_domain_tables(run.output, machine, scored)
    if not counts and not skipped:
        raise InputError("there are no test clips", where=run.root)
    if every:
        files += write_package(run.output, run.config.output.label, every, system_facts(run), _evaluation(every))
    files.append(run.record("infer", {"clips": counts, "skipped": [item.reason for item in skipped]}))
    return Inferred(counts, tuple(files), tuple(skipped), tuple(notices), tuple(levels))


def _write_levels(
    run: Run, detector: FittedDetector, recordings: Sequence[Recording], clips: Sequence[ScoredClip]
) -> list[Path]:
    """Write the levels of bank and test clips; nothing where an older version made the bank."""
    levels = detector.bank.extras.get(LEVELS)
    if levels is None:
        return []
    own = detector.bank.columns.genuine()
    names = [row.file for row, genuine in zip(detector.bank.rows, own, strict=True) if genuine]
    known = dict(zip(names, map(float, levels[own]), strict=True))
    scored = {clip.file_name for clip in clips}
    test = {r.name: run.reader.check(r.path).rms_dbfs for r in recordings if r.name in scored}
    return [write_levels(run.output, recordings[0].machine, recordings[0].section, Levels(known, test))]


def load_detector(run: Run, machine: str, section: str) -> tuple[FittedDetector, tuple[str, ...]]:
    """Load a bank, check that its embeddings are those of this run, and fit the back-end; return notices for the user.

    Raises:
        BankError: Missing, damaged, or made by something else.
    """
    path = run.bank_path(machine, section)
    bank = load_bank(path)
    notices = require_same(bank.header.provenance, run.provenance, path)
    detector = fit_detector(bank, scoring_settings(run))
    said = fallen_back(detector.settings, detector.thresholds)
    return detector, (*notices, f"{path}: {said}") if said else notices


def _score(
    run: Run, detector: FittedDetector, recordings: list[Recording], label: str
) -> tuple[list[ScoredClip], tuple[Skipped, ...]]:
    sources = [run.reader.source(recording.path, allow_silent=True) for recording in recordings]
    embedded = run.embed(sources, label)
    if not len(embedded.kept):
        return [], embedded.skipped
    scores = detector.score(embedded.vectors)
    decisions = detector.decide(scores)
    clips = [
        ScoredClip(recordings[i].name, recordings[i].domain, float(score), int(decision))
        for i, score, decision in zip(embedded.kept, scores, decisions, strict=True)
    ]
    return clips, embedded.skipped


def _evaluation(every: Mapping[Key, Sequence[ScoredClip]]) -> Evaluation | None:
    """Return the evaluation of clips whose names contain the truth, None for blind clips."""
    scores = {key: {clip.file_name: clip.score for clip in clips} for key, clips in every.items()}
    decisions = {key: {clip.file_name: clip.decision for clip in clips} for key, clips in every.items()}
    try:
        return evaluate(scores, decisions, load_truth(scores))
    except InputError:
        return None
