"""Stage two: one memory bank per machine and section, from the embeddings of its healthy training clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echobank.data.augment import Augmentation, plan
from echobank.data.dcase import Recording
from echobank.data.index import ClipFacts
from echobank.detection.bank import Row, build_bank, save_bank
from echobank.detection.fitted import ScoringSettings, fallen_back, fit_detector, remembering
from echobank.detection.threshold import Threshold
from echobank.detection.without_level import without_level
from echobank.errors import InputError
from echobank.evaluation.level_alone import LEVELS
from echobank.models.feeding import Skipped
from echobank.pipeline.clips import Noises, load_noises
from echobank.pipeline.run import Run


@dataclass(frozen=True)
class TrainedBank:
    """One bank that was written.

    Attributes:
        machine: Machine type.
        section: Section of the data set.
        path: The file.
        clips: Training clips in it, by domain.
        augmented: Rows made by augmentation.
        note: What augmentation did, in words; empty when it is off.
        thresholds: Where a score becomes anomalous.
    """

    machine: str
    section: str
    path: Path
    clips: dict[str, int]
    augmented: int
    note: str
    thresholds: tuple[Threshold, ...]


@dataclass(frozen=True)
class Trained:
    """All banks of a run, the recordings that were left out, and notices for the user."""

    banks: tuple[TrainedBank, ...]
    skipped: tuple[Skipped, ...]
    record: Path
    notices: tuple[str, ...] = ()


def train(run: Run) -> Trained:
    """Fill and write the bank of every machine and section.

    Raises:
        InputError: A machine has no training clips of the domains asked for, or none that can be used.
        BankError: A bank is too small for `model.k` or the back-end.
        OutputError: A bank cannot be written.
    """
    banks: list[TrainedBank] = []
    skipped: list[Skipped] = []
    for machine in run.dataset.machines:
        for section in run.dataset.require_train(machine):
            trained, left_out = _train_one(run, machine, section)
            banks.append(trained)
            skipped += left_out
    facts = {
        "banks": {bank.path.name: {"clips": bank.clips, "augmentation": bank.note} for bank in banks},
        "skipped": [item.reason for item in skipped],
    }
    said = [(bank.path, fallen_back(scoring_settings(run), bank.thresholds)) for bank in banks]
    notices = tuple(f"{path}: {notice}" for path, notice in said if notice)
    return Trained(tuple(banks), tuple(skipped), run.record("train", facts), notices)


def scoring_settings(run: Run) -> ScoringSettings:
    """Return how the configuration wants banks to be scored.

    Raises:
        ConfigError: Without level, and nothing else is heard.
    """
    config = run.config
    settings = ScoringSettings(
        config.scoring.backend,
        config.scoring.metric,
        config.model.k,
        config.scoring.params,
        config.decision.method,
        config.decision.false_alarm_rate,
        config.decision.leave_out,
    )
    return settings if config.scoring.level else without_level(settings, config.model.embedding)


def _train_one(run: Run, machine: str, section: str) -> tuple[TrainedBank, tuple[Skipped, ...]]:
    recordings = training_clips(run, machine, section)
    embedded = run.embed(
        [run.reader.source(recording.path, allow_silent=False) for recording in recordings],
        f"{machine} {section} train",
    )
    kept = [recordings[i] for i in embedded.kept]
    if not kept:
        raise InputError(
            f"none of the training clips of {machine} can be used ({embedded.skipped[0].reason})", where=run.root
        )
    groups = groups_of([run.reader.check(recording.path) for recording in kept])
    vectors, rows = list(embedded.vectors), [bank_row(run, recording, "", groups) for recording in kept]
    changes, noises, note = _augmentation(run, machine, section)
    pairs = [(recording, change) for recording in kept for change in changes]
    if pairs:
        sources = [run.reader.augmented(r.path, change, noises, run.config.seed) for r, change in pairs]
        extra = run.embed(sources, f"{machine} {section} augmented")
        vectors += list(extra.vectors)
        rows += [bank_row(run, pairs[i][0], pairs[i][1].label, groups) for i in extra.kept]
    heard = [*kept, *(pairs[i][0] for i in extra.kept)] if pairs else kept
    levels = np.array([run.reader.check(recording.path).rms_dbfs for recording in heard], np.float32)
    bank = build_bank(np.stack(vectors), rows, run.header, {LEVELS: levels})
    detector = fit_detector(bank, scoring_settings(run))
    path = run.bank_path(machine, section)
    save_bank(remembering(detector), path)
    clips = {domain: sum(r.domain == domain for r in kept) for domain in sorted({r.domain for r in kept})}
    trained = TrainedBank(machine, section, path, clips, len(rows) - len(kept), note, detector.thresholds)
    return trained, embedded.skipped


def training_clips(run: Run, machine: str, section: str) -> list[Recording]:
    """Return the training clips of the domains that the configuration asks for.

    Raises:
        InputError: There are none.
    """
    wanted = run.config.train.domain.split("+")
    every = run.dataset.select(machine, section, "train")
    chosen = [recording for recording in every if recording.domain in wanted]
    if not chosen:
        found = ", ".join(sorted({recording.domain for recording in every})) or "none"
        raise InputError(
            f"{machine} section {section} has no training clips of train.domain",
            value=run.config.train.domain,
            where=run.root,
            hint=f"its training clips are of: {found}",
        )
    return chosen


def groups_of(clips: Sequence[ClipFacts]) -> dict[str, str]:
    """Return the group of each clip by the hash of its file: one for all files that hold the same sound.

    An index of an older version knows no hashes of sound; there only files of the same bytes are one.
    """
    files: dict[str, set[str]] = {}
    for clip in clips:
        files.setdefault(clip.sound_sha256 or clip.sha256, set()).add(clip.sha256)
    return {sha256: min(same) for same in files.values() for sha256 in same}


def bank_row(run: Run, recording: Recording, augmentation: str, groups: Mapping[str, str]) -> Row:
    """Return the facts of a bank row; a recording, its changed copies and files of the same sound are one group."""
    facts = run.reader.check(recording.path)
    return Row(
        file=recording.key,
        machine=recording.machine,
        section=recording.section,
        domain=recording.domain,
        attributes=dict(recording.attributes),
        sha256=facts.sha256,
        group=groups.get(facts.sha256, facts.sha256),
        augmentation=augmentation,
        seconds=facts.seconds,
        sound_sha256=facts.sound_sha256,
    )


def _augmentation(run: Run, machine: str, section: str) -> tuple[Sequence[Augmentation], Noises, str]:
    settings = run.config.augmentation
    if not settings.enabled:
        return (), Noises((), ""), ""
    supplemental = run.dataset.select(machine, section, "supplemental")
    paths = [recording.path for recording in supplemental if recording.role == "noise"]
    noises = load_noises(paths, run.reader)
    changes = plan(settings.snr, settings.pitch_shift, bool(noises.clips))
    note = f"{', '.join(change.label for change in changes) or 'nothing'} from {len(noises.clips)} noise clips"
    if settings.snr and not noises.clips:
        note += "; no noise-only supplemental clips, so no noise was mixed in"
    return changes, noises, note
