"""A handful of clips of a new operating state: judge the ways to take them in, keep the best, write the bank."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echobank.data.augment import Augmentation, plan
from echobank.data.dcase import Dataset, Recording
from echobank.data.folder import LeftOut, recordings_in
from echobank.detection.bank import Bank, Row, load_bank, save_bank
from echobank.detection.fitted import fit_detector, remembering
from echobank.errors import InputError
from echobank.models.encoder import Float32
from echobank.models.feeding import Skipped
from echobank.models.provenance import require_same
from echobank.pipeline.clips import Noises
from echobank.pipeline.run import Run
from echobank.pipeline.train import groups_of, scoring_settings
from echobank.training.adaptation import (
    FINETUNED,
    WAYS,
    Fold,
    Outcome,
    assess,
    choose,
    leave_one_out,
    merge_banks,
    new_bank,
)

LORA_STEPS = 100  # of a short run, unless finetune.steps says otherwise
LORA_FOLDS = 2


@dataclass(frozen=True)
class Adapted:
    """The result for the new clips.

    Attributes:
        outcomes: The outcome of each way.
        why: The way that was kept, and the figures that decided.
        path: The bank that was written.
        settings: Settings, as key=value, that the bank must be scored with.
        skipped: New clips that could not be used.
        notices: What the user should know of the bank that was there.
    """

    outcomes: tuple[Outcome, ...]
    why: str
    path: Path
    settings: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    notices: tuple[str, ...] = ()


def adapt(run: Run, machine: str, section: str, folder: Path, *, lora: bool = True) -> Adapted:
    """Take the clips of a folder into a machine's bank, in the way that does best on normal clips.

    The bank that was there is kept beside the new one, under `<name>.before.safetensors`.

    Args:
        run: Its bank of the machine must exist.
        machine: Machine type.
        section: Its section.
        folder: Normal clips of the new state.
        lora: Whether to try a short fine-tuning too, where the encoder and the known recordings allow it.

    Raises:
        InputError: Fewer than two usable clips.
        BankError: The bank is missing or made by another encoder, or no way could be judged.
        OutputError: The bank cannot be written.
    """
    path = run.bank_path(machine, section)
    known = load_bank(path)
    notices = require_same(known.header.provenance, run.provenance, path)
    recordings, skipped = _usable(run, folder, machine, section)
    new = _bank_of(run, recordings, known)
    folds = leave_one_out(known, new, _changed(run, recordings))
    configured = scoring_settings(run)
    outcomes = [assess(way, folds, configured) for way in WAYS]
    clips = _known_recordings(run, known) if lora and run.encoder.facts.engine == "torch" else []
    if clips:
        outcomes.append(assess(FINETUNED, _tuned_folds(run, known, clips, recordings), configured))
    best, why = choose(outcomes)
    settings: list[str] = []
    if best.way is FINETUNED:
        tuned = _tune(run, clips, recordings, f"adapt/{machine}/final")
        known, new = _known_bank(tuned, clips, known), _bank_of(tuned, recordings, known)
        run = tuned
        settings.append(f"weights.adapter={tuned.config.weights.adapter}")
    if best.way.backend:
        settings.append(f"scoring.backend={best.way.backend}")
    bank = merge_banks(best.way, known, new)
    detector = fit_detector(bank, best.way.settings(configured))
    save_bank(load_bank(path), path.with_suffix(".before.safetensors"))
    kept = remembering(detector)
    save_bank(dataclasses.replace(kept, header=dataclasses.replace(kept.header, provenance=run.provenance)), path)
    return Adapted(tuple(outcomes), why, path, tuple(settings), skipped, notices)


def _usable(run: Run, folder: Path, machine: str, section: str) -> tuple[list[Recording], tuple[Skipped, ...]]:
    """Return the clips of a folder as recordings of the target domain, and what was left out."""
    if not folder.is_dir():
        raise InputError("no such folder", where=folder)
    left_out = LeftOut()
    found = [name for name, _ in recordings_in(folder, strict=True, left_out=left_out)]
    paths = sorted(folder / name for name in found if "/" not in name)
    clips = [Recording(path, machine, section, "train", "target", "normal") for path in paths]
    embedded = run.embed([run.reader.source(clip.path, allow_silent=False) for clip in clips], "new clips")
    good = [clips[i] for i in embedded.kept]
    if len(good) < 2:
        raise InputError("two or more usable clips are needed", value=len(good), where=folder)
    return good, (*embedded.skipped, *(Skipped(line, line) for line in left_out.lines))


def _vectors(run: Run, clips: Sequence[Recording]) -> Float32:
    return run.embed([run.reader.source(clip.path, allow_silent=False) for clip in clips], "embed").vectors


def _bank_of(run: Run, clips: Sequence[Recording], known: Bank) -> Bank:
    facts = [run.reader.check(clip.path) for clip in clips]
    groups = groups_of(facts)
    rows = [
        Row(
            file=clip.key,
            machine=clip.machine,
            sha256=known_as.sha256,
            group=groups[known_as.sha256],
            sound_sha256=known_as.sound_sha256,
        )
        for clip, known_as in zip(clips, facts, strict=True)
    ]
    return new_bank(_vectors(run, clips), rows, known)


def _changed(run: Run, clips: Sequence[Recording]) -> Float32:
    """Return embeddings of changed copies of each clip, float32[n, S, H, D]: the stand-ins for anomalies."""
    changes: tuple[Augmentation, ...] = plan((), run.config.augmentation.pitch_shift or (-1.0, 1.0), False)
    sources = [
        run.reader.augmented(c.path, change, Noises((), ""), run.config.seed) for c in clips for change in changes
    ]
    vectors = run.embed(sources, "changed copies").vectors
    return vectors.reshape(len(clips), len(changes), *vectors.shape[1:])


def _known_recordings(run: Run, known: Bank) -> list[Recording]:
    """Return the recordings of the bank's rows, in their order; none when one of them is not at hand."""
    try:
        found = {recording.key: recording for recording in run.dataset.recordings if recording.split == "train"}
    except InputError:
        return []
    genuine = [row.file for row in known.rows if not row.augmentation]
    return [found[name] for name in genuine] if all(name in found for name in genuine) else []


def _known_bank(run: Run, clips: Sequence[Recording], known: Bank) -> Bank:
    rows = tuple(row for row in known.rows if not row.augmentation)
    return Bank(_vectors(run, clips), rows, dataclasses.replace(known.header, provenance=run.provenance))


def _tune(run: Run, clips: Sequence[Recording], new: Sequence[Recording], folder: str) -> Run:
    """Return the run with its encoder fine-tuned on the known and the given new clips, in a short run."""
    from echobank.pipeline.finetune import finetune_on, with_adapter

    steps = run.config.finetune.steps or LORA_STEPS
    settings = dataclasses.replace(run.config.finetune, steps=steps)
    dataset = Dataset(run.root, (*clips, *new))
    return with_adapter(run, finetune_on(run, dataset, dataclasses.replace(run.config, finetune=settings), folder))


def _tuned_folds(run: Run, known: Bank, clips: Sequence[Recording], new: Sequence[Recording]) -> list[Fold]:
    """Return one fold per half of the new clips, in which the encoder was fine-tuned without it."""
    folds = []
    for number in range(LORA_FOLDS):
        unseen = np.arange(len(new)) % LORA_FOLDS == number
        seen = [clip for clip, out in zip(new, unseen, strict=True) if not out]
        left_out = [clip for clip, out in zip(new, unseen, strict=True) if out]
        tuned = _tune(run, clips, seen, f"adapt/{new[0].machine}/fold_{number}")
        changed = _changed(tuned, left_out)
        folds.append(
            Fold(
                _known_bank(tuned, clips, known),
                _bank_of(tuned, seen, known),
                _vectors(tuned, left_out),
                changed.reshape(-1, *changed.shape[2:]),
            )
        )
    return folds
