"""Distilling encoders into a small BEATs of our own: a stream, several teachers, one student, an official checkpoint.

The student learns its teachers' outputs on clips that need no label (Hinton et al. 2015), token by token where the
grids agree, and which synthetic machine it hears.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echobank.errors import ConfigError, InputError
from echobank.models.logmel import MELS
from echobank.progress import Progress, silent
from echobank.storage import sha256_file, write_json
from echobank.training.curves import can_draw, draw_curves, write_journal
from echobank.training.distil_settings import STUDENTS, DistilSettings
from echobank.training.lessons import Lesson, LessonPlan, stream
from echobank.training.loop import LoopSettings, fit
from echobank.training.objective import Objective
from echobank.training.recordings import SoundFile
from echobank.training.streams import count_labels
from echobank.training.student import Student, write_student
from echobank.training.teachers import Teachers, load_teachers
from echobank.training.training_state import TrainingJournal

_CALIBRATION = 8  # lessons that targets are z-scored by
_VALIDATION = 4  # lessons that no step sees
_VALIDATIONS = 20  # times in a run


@dataclass(frozen=True)
class Distilled:
    """The result.

    Attributes:
        path: The checkpoint, in the official format.
        files: Card, journal, and curves where matplotlib is installed.
        journal: The course of the training.
        parameters: Of the student.
        explained: Name of each target, and the share of its variance that is explained, overall and within groups.
    """

    path: Path
    files: tuple[Path, ...]
    journal: TrainingJournal
    parameters: int
    explained: tuple[tuple[str, float, float], ...]


def distil(
    recordings: Sequence[SoundFile], settings: DistilSettings, folder: Path, progress: Progress = silent
) -> Distilled:
    """Train a student; continue where an interrupted run of the same settings and recordings stopped.

    Args:
        recordings: What is listened to beside synthetic machines; there may be none.
        settings: How.
        folder: Where checkpoint, student, card, journal and curves go.
        progress: Shows how far it is.

    Raises:
        ConfigError: No such student.
        InputError: No teacher, or the folder's checkpoint is of another run.
        WeightsError: A teacher cannot be loaded.
        AudioError: A recording has become unreadable.
        OutputError: A file cannot be written.
    """
    _check(settings)
    bands = MELS // STUDENTS[settings.student].patch
    teachers = load_teachers(settings.teachers, bands)
    identity = _identity(settings, teachers, recordings)
    cache = folder / "lessons" / _digest(identity) if settings.passes > 1 else None
    course = LessonPlan(tuple(recordings), settings.stream, settings.teachers, bands, settings.lessons, cache)
    objective = _start(settings, teachers)
    objective.calibrate([course.lesson(number, teachers) for number in range(min(_CALIBRATION, settings.lessons))])
    objective.to(settings.device)
    held = [_moved(course.lesson(-1 - number, teachers), settings.device) for number in range(_VALIDATION)]
    journal = fit(
        objective,
        _loss(course, teachers, objective, settings),
        _loop_settings(settings),
        folder,
        identity,
        validate=lambda: _unexplained(objective, held),
        progress=progress,
        label="distil",
    )
    return _write(objective, teachers, held, journal, settings, folder)


def _check(settings: DistilSettings) -> None:
    if settings.student not in STUDENTS:
        raise ConfigError("no such student", value=settings.student, hint=f"there are {', '.join(STUDENTS)}")
    if not settings.teachers:
        raise InputError("no teacher is given", hint="name one or more with --teacher")


def _start(settings: DistilSettings, teachers: Teachers) -> Objective:
    """Return student and heads as training begins with them."""
    stream = settings.stream
    torch.manual_seed(stream.seed)
    student = Student(STUDENTS[settings.student], stream.seed)
    return Objective(student, teachers.targets, count_labels(stream), stream.members, settings.weights)


def _loss(
    course: LessonPlan, teachers: Teachers, objective: Objective, settings: DistilSettings
) -> Callable[[int], Tensor]:
    """Return the loss of a step; steps are asked for in order, from any first one."""
    lessons = None

    def loss_at(step: int) -> Tensor:
        nonlocal lessons
        if lessons is None:
            lessons = stream(course, teachers, range(step, settings.steps), settings.workers)
        loss: Tensor = objective(_moved(next(lessons), settings.device))
        return loss

    return loss_at


def _loop_settings(settings: DistilSettings) -> LoopSettings:
    return LoopSettings(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        warmup=0.05,
        weight_decay=settings.weight_decay,
        ema=settings.ema,
        precision=settings.precision,
        checkpoint_every=settings.checkpoint_every,
        validate_every=max(1, settings.steps // _VALIDATIONS),
        seed=settings.stream.seed,
    )


def _unexplained(objective: Objective, held: Sequence[Lesson]) -> float:
    """Return the mean share of variance, overall and within groups, that is left unexplained."""
    shares = torch.tensor(objective.explained(held))
    return float(1.0 - shares.mean())


def _identity(settings: DistilSettings, teachers: Teachers, recordings: Sequence[SoundFile]) -> dict[str, Any]:
    """Return what an interrupted run and its resumption must share; where it runs is not among it."""
    stated = asdict(settings)
    for key in ("teachers", "workers", "device"):
        del stated[key]
    return {
        "distil": json.loads(json.dumps(stated)),
        "teachers": [facts.weights_sha256 or facts.name for facts in teachers.facts],
        "recordings": [[recording.path.name, recording.rate, recording.frames] for recording in recordings],
    }


def _digest(identity: dict[str, Any]) -> str:
    """Return a name for what lessons depend on: the stream, the teachers and the recordings, not the training."""
    made_of = {**identity, "distil": identity["distil"]["stream"]}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def _moved(lesson: Lesson, device: str) -> Lesson:
    return {name: tensor.to(device, non_blocking=True) for name, tensor in lesson.items()}


def _write(
    objective: Objective,
    teachers: Teachers,
    held: Sequence[Lesson],
    journal: TrainingJournal,
    settings: DistilSettings,
    folder: Path,
) -> Distilled:
    shares = objective.explained(held)
    explained = tuple((t.name, *share) for t, share in zip(teachers.targets, shares, strict=True))
    path = write_student(objective.student, folder / f"{settings.student}.pt")
    parameters = sum(tensor.numel() for tensor in objective.student.parameters())
    card = {
        "name": settings.student,
        "sha256": sha256_file(path),
        "parameters": parameters,
        "teachers": [asdict(facts) for facts in teachers.facts],
        "clips_heard": journal.step * settings.stream.size,
        "explained": [{"target": name, "overall": overall, "within": within} for name, overall, within in explained],
        "settings": asdict(settings),
        "seconds": journal.seconds,
    }
    write_json(folder / f"{settings.student}.json", card)
    files = [folder / f"{settings.student}.json", write_journal(journal, folder / "journal.json")]
    if can_draw():
        title = f"{settings.student}: {', '.join(facts.name for facts in teachers.facts)}"
        files.append(draw_curves(journal, folder / "curves.svg", title))
    return Distilled(path, tuple(files), journal, parameters, explained)
