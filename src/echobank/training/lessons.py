"""Lessons: a batch of clips as log-mel with the teachers' outputs for it, made once and kept for later passes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from echobank.models.logmel import logmel_torch
from echobank.storage import write_bytes
from echobank.training.recordings import SoundFile
from echobank.training.streams import StreamSettings, draw_batch
from echobank.training.teachers import Teachers, load_teachers

Lesson = dict[str, Tensor]  # logmel [B, F, 128], identity [B], state [B], target.<k> [B, ...]


@dataclass(frozen=True)
class LessonPlan:
    """The lessons of a training run: `lessons` distinct ones, repeated in a different order on each pass.

    Attributes:
        recordings: What groups of clips are read from, beside synthetic machines.
        settings: How clips are drawn.
        teachers: Names of the teachers.
        bands: Bands of the student's grid.
        lessons: Distinct lessons.
        cache: Folder that keeps what was made; None makes it again on each pass.
    """

    recordings: tuple[SoundFile, ...]
    settings: StreamSettings
    teachers: tuple[str, ...]
    bands: int
    lessons: int
    cache: Path | None

    def number(self, step: int) -> int:
        """Return the lesson of a step: each once per pass, in an order of its own."""
        passes, position = divmod(step, self.lessons)
        order = np.random.default_rng([self.settings.seed, passes, 1]).permutation(self.lessons)
        return int(order[position])

    def lesson(self, number: int, teachers: Teachers) -> Lesson:
        """Return a lesson, from the cache where it is there whole; numbers below 0 are for validation.

        Raises:
            AudioError: A recording has become unreadable.
            OutputError: The cache cannot be written.
        """
        path = self.cache / f"{number:07d}.safetensors" if self.cache else None
        if path and path.exists():
            try:
                return load_file(path)
            except SafetensorError:
                path.unlink()
        with torch.autocast("cpu", enabled=False):  # a step may ask from under autocast
            lesson = self._make(number, teachers)
        if path:
            write_bytes(path, save(lesson), durable=False)
        return lesson

    def _make(self, number: int, teachers: Teachers) -> Lesson:
        # a generator takes no negative number: validation has the even ones from the far end of the range
        heard = draw_batch(self.recordings, self.settings, number if number >= 0 else 2**32 + number)
        taught = teachers.teach(list(heard.waveforms))
        lesson = {f"target.{index}": torch.from_numpy(array) for index, array in enumerate(taught)}
        frames = np.stack([logmel_torch(waveform) for waveform in heard.waveforms])
        lesson["logmel"] = torch.from_numpy(frames).half()  # exact to 0.008, a thousandth of its deviation
        lesson["identity"] = torch.from_numpy(heard.identity)
        lesson["state"] = torch.from_numpy(heard.state)
        return lesson


class _Lessons(Dataset[Lesson]):
    """Lessons by step; each worker process has teachers of its own."""

    def __init__(self, course: LessonPlan, teachers: Teachers | None) -> None:
        self._course, self._teachers = course, teachers

    def __getitem__(self, step: int) -> Lesson:
        if self._teachers is None:
            self._teachers = load_teachers(self._course.teachers, self._course.bands)
        return self._course.lesson(self._course.number(step), self._teachers)


def stream(course: LessonPlan, teachers: Teachers, steps: Sequence[int], workers: int) -> Iterator[Lesson]:
    """Yield the lessons of steps in order, made ahead by worker processes; 0 makes them here, one at a time."""
    dataset = _Lessons(course, None if workers else teachers)
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
    )
    return iter(loader)
