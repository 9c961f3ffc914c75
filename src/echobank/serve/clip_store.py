"""The clips of the service: the sound in which a window was anomalous, within quota, age and free space of the disk."""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, select

from echobank.serve.decoder import kind_of
from echobank.serve.intake import insert_new, now_ms
from echobank.serve.premises import ServiceSettings
from echobank.serve.schema import clips, events
from echobank.serve.speech_cut import cut_speech
from echobank.serve.writer import FullError, Writer
from echobank.storage import atomic_path

_DAY = 86_400.0
_TIDY = 0.95  # of the quota is left taken when clips have to go, so that not every upload removes one
WITHOUT_SPEECH = ".nospeech"  # in the name of a clip whose band of speech was cut
_AMPLE, _SEEN_FOR = 1 << 28, 0.5  # bytes beyond the floor with which a look at the disk is good for so many seconds
_COUNT_EVERY = 1.0  # seconds between two counts of what is taken, when the quota is used up


class ClipStore:
    """Keeps clips in `clips/` of the folder of the service.

    Args:
        settings: How much is kept, and for how long.
        writer: The writer of the database.
    """

    def __init__(self, settings: ServiceSettings, writer: Writer) -> None:
        self.folder = settings.folder / "clips"
        self.folder.mkdir(exist_ok=True)
        for left in self.folder.glob(".*.tmp"):  # half written by a service that was killed
            left.unlink(missing_ok=True)
        self._settings, self._writer = settings, writer
        self._gate, self._counted = threading.Lock(), 0.0
        self._seen = (0.0, -1)  # when, and how many bytes were free
        self.taken = self._count()

    def require(self, size: int) -> None:
        """Check that this many bytes may be written.

        Raises:
            FullError: They may not: only the space to keep free is left, or the quota is used up.
        """
        settings = self._settings
        self.require_floor(size)
        if not settings.quota or self.taken + size <= settings.quota:
            return
        with self._gate:
            if time.monotonic() - self._counted > _COUNT_EVERY:
                self.taken, self._counted = self._count(), time.monotonic()
            if self.taken + size > settings.quota:
                self._make_room(size)
        if self.taken + size > settings.quota:
            raise FullError(
                "the quota of the service is used up",
                value=settings.quota,
                hint="raise --quota; what is there can be read",
            )

    def require_floor(self, size: int) -> None:
        """Check that this many bytes leave enough free space on the disk.

        Raises:
            FullError: They do not.
        """
        least = self._settings.least_free + size
        seen, free = self._seen
        if free - least > _AMPLE and time.monotonic() - seen < _SEEN_FOR:
            return  # asked for every post, and asking the system takes as long as the rest of one
        self._seen = time.monotonic(), (free := shutil.disk_usage(self._settings.folder).free)
        if free < least:
            raise FullError("the disk of the service is full", hint="free space; what is there can be read")

    def keep(self, sent: Path, machine: int, digest: str, seconds: float, plain: Path | None = None) -> dict[str, Any]:
        """Keep a recording, and return its row for the database.

        Args:
            sent: The recording.
            machine: Number of the machine.
            digest: What distinguishes it from other recordings of the machine.
            seconds: Its length.
            plain: The same, decoded; strangers' files are opened nowhere but in the decoder.

        Raises:
            FullError: As `require`.
            OutputError: It cannot be written.
        """
        name = hashlib.sha256(f"{machine}|{digest}".encode()).hexdigest()[:32]
        self.require(sent.stat().st_size)
        return self._row(name, self._put(sent, plain or sent, name, kind_of(sent)), machine, seconds)

    def adopt(self, clip: str, recorded: Path, machine: int, seconds: float) -> None:
        """Take over a clip that was recorded by a source; repeated after a kill it does the same.

        Raises:
            EchobankError: It cannot be stored now; it stays where it is.
        """
        target = self._name(clip, "flac")
        if recorded.exists():
            self.require(recorded.stat().st_size)
            self._put(recorded, recorded, clip, "flac")
        if target.exists():
            row = self._row(clip, target, machine, seconds)
            self._writer.run(partial(insert_new, table=clips, rows=[row]))
        recorded.unlink(missing_ok=True)

    def file_of(self, connection: Connection, clip: str) -> Path | None:
        """Return the file of a clip's sound, or None."""
        file = connection.execute(select(clips.c.file).where(clips.c.id == clip)).scalar()
        return self.folder / file if file is not None and (self.folder / file).is_file() else None

    def tidy(self) -> None:
        """Remove clips that are too old, and the oldest while the quota is exceeded; those of open events last."""
        with self._gate:
            self.taken, self._counted = self._count(), time.monotonic()
            days = self._settings.clip_days
            if days:
                end = time.time() - days * _DAY
                self._remove({path: facts for path, facts in self._listed() if facts.st_mtime < end})
            if self._settings.quota and self.taken > self._settings.quota:
                self._make_room(0)

    def _make_room(self, size: int) -> None:
        room = self.taken + size - _TIDY * self._settings.quota
        still = self._writer.run(_clips_of_open_events)
        going: dict[Path, os.stat_result] = {}
        for path, facts in sorted(
            self._listed(), key=lambda it: (it[0].name.partition(".")[0] in still, it[1].st_mtime_ns)
        ):
            if room <= 0:
                break
            going[path] = facts
            room -= facts.st_size
        self._remove(going)

    def _remove(self, going: Mapping[Path, os.stat_result]) -> None:
        """Remove files, their rows first: a row without a file would promise sound that is not there."""
        if not going:
            return
        names = [path.name for path in going]
        for begin in range(0, len(names), 500):
            self._writer.run(partial(_forget, files=names[begin : begin + 500]))
        for path, facts in going.items():
            path.unlink(missing_ok=True)
            self.taken -= facts.st_size

    def _name(self, clip: str, kind: str) -> Path:
        return self.folder / (f"{clip}.{kind}" if self._settings.keeps_speech else f"{clip}{WITHOUT_SPEECH}.flac")

    def _put(self, sent: Path, plain: Path, clip: str, kind: str) -> Path:
        target = self._name(clip, kind)
        with atomic_path(target) as temporary:
            if self._settings.keeps_speech:
                shutil.copyfile(sent, temporary)
            else:
                cut_speech(plain, temporary)
        return target

    def _row(self, clip: str, target: Path, machine: int, seconds: float) -> dict[str, Any]:
        size = target.stat().st_size
        self.taken += size
        facts = {"id": clip, "file": target.name, "kind": target.suffix[1:], "bytes": size, "seconds": seconds}
        return {**facts, "machine": machine, "made": now_ms()}

    def _listed(self) -> Iterator[tuple[Path, os.stat_result]]:
        with suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                with suppress(FileNotFoundError):
                    yield path, path.stat()

    def _count(self) -> int:
        """Return the bytes that the folder of the service takes."""
        total = 0
        for folder, _, files in os.walk(self._settings.folder):
            for file in files:
                with suppress(OSError):
                    total += os.lstat(Path(folder) / file).st_size
        return total


def _clips_of_open_events(connection: Connection) -> frozenset[str]:
    found = connection.execute(select(events.c.clip).where(events.c.closed.is_(None), events.c.clip.is_not(None)))
    return frozenset(found.scalars())


def _forget(connection: Connection, files: list[str]) -> None:
    connection.execute(delete(clips).where(clips.c.file.in_(files)))
