"""What is known about clips that were read before: an index of facts and a cache of log-mel spectrograms."""

import json
import os
import threading
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.data.audio import Clip
from echobank.data.channels import ChannelName
from echobank.errors import OutputError
from echobank.storage import atomic_path, write_text

_JOURNAL = "index.jsonl"
_STALE_SHARE = 0.5
_STALE_LINES = 100


@dataclass(frozen=True)
class ClipFacts:
    """Facts of what is heard of one recording; valid while the file keeps its size and time of change.

    Attributes:
        path: The file, absolute.
        size: Bytes.
        mtime_ns: Time of the last change, ns.
        sha256: Hash of the file's bytes; empty when it could not be read.
        seconds: Length.
        source_rate: Rate of the file, Hz.
        channels: Number of channels in the file.
        channel: The channel, or the reduction, that these facts are of.
        peak_dbfs: As `Clip`.
        rms_dbfs: As `Clip`.
        flags: As `Clip`.
        error: Why the recording cannot be used; empty when it can.
        sound_sha256: As `Clip`; empty in an index of an older version.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str = ""
    seconds: float = 0.0
    source_rate: int = 0
    channels: int = 0
    channel: ChannelName = 0
    peak_dbfs: float = 0.0
    rms_dbfs: float = 0.0
    flags: tuple[str, ...] = ()
    error: str = ""
    sound_sha256: str = ""


_FIELDS = {field.name for field in fields(ClipFacts)}


def facts_of(path: Path | str, channel: ChannelName, *, clip: Clip | None = None, error: str = "") -> ClipFacts:
    """Return the facts of a recording that was read (`clip`) or could not be used (`error`)."""
    size, mtime_ns = _state(path)
    facts = ClipFacts(_absolute(path), size, mtime_ns, channel=channel, error=error)
    if clip is None:
        return facts
    known = {name: getattr(clip, name) for name in _FIELDS & {field.name for field in fields(Clip)}}
    return replace(facts, **known)


class ClipIndex:
    """A journal of facts, `index.jsonl`: one line per recording and channel, the last one counts.

    Each line is written at once, so that an interrupted run loses at most the line it was writing. Threads
    may share an index.
    """

    def __init__(self, folder: Path | str) -> None:
        self._path = Path(folder) / _JOURNAL
        self._lock = threading.Lock()
        self._facts: dict[tuple[str, ChannelName], ClipFacts] = {}
        self._whole_last_line = True
        lines = self._load()
        if lines - len(self._facts) > max(_STALE_LINES, _STALE_SHARE * lines):
            self._compact()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lock, so that sources that hold the index go to other processes; both append whole lines."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up what `__getstate__` gave, with a lock of its own."""
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._facts)

    def find(self, path: Path | str, channel: ChannelName) -> ClipFacts | None:
        """Return what is known about a recording that can be used.

        None when nothing is known, the file has changed since, or it could not be used: that may have been the
        disk or a permission, so it is worth another look.
        """
        facts = self._facts.get((_absolute(path), channel))
        if facts is None or facts.error or (facts.size, facts.mtime_ns) != _state(path):
            return None
        return facts

    def add(self, facts: ClipFacts) -> None:
        """Keep the facts of a recording.

        Raises:
            OutputError: The journal cannot be written.
        """
        line = json.dumps(asdict(facts), sort_keys=True, ensure_ascii=False)
        with self._lock:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("ab") as stream:
                    stream.write(b"" if self._whole_last_line else b"\n")
                    stream.write(line.encode(errors="surrogateescape") + b"\n")
            except OSError as error:
                self._whole_last_line = False
                hint = "check that the folder is writable and the disk is not full"
                raise OutputError(f"cannot write ({error.strerror or error})", where=self._path, hint=hint) from error
            self._whole_last_line = True
            self._facts[facts.path, facts.channel] = facts

    def _load(self) -> int:
        """Read the journal, pass over torn lines, and return how many lines it has."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return 0
        self._whole_last_line = not content or content.endswith(b"\n")
        lines = content.splitlines()
        for line in lines:
            facts = _parse(line)
            if facts:
                self._facts[facts.path, facts.channel] = facts
        return len(lines)

    def _compact(self) -> None:
        ordered = (self._facts[key] for key in sorted(self._facts, key=_place))
        lines = [json.dumps(asdict(facts), sort_keys=True, ensure_ascii=False) + "\n" for facts in ordered]
        write_text(self._path, "".join(lines))
        self._whole_last_line = True


class LogmelCache:
    """Log-mel spectrograms on disk by content and channel, one file per clip; a damaged file counts as absent."""

    def __init__(self, folder: Path | str, front_end: str) -> None:
        self._folder = Path(folder) / "logmel" / front_end

    def has(self, sha256: str, channel: ChannelName) -> bool:
        """Return whether a whole spectrogram is there, without reading its values."""
        return self._open(sha256, channel) is not None

    def get(self, sha256: str, channel: ChannelName) -> NDArray[np.float32] | None:
        """Return a spectrogram float32[F, M], or None when it is absent or damaged."""
        mapped = self._open(sha256, channel)
        return np.array(mapped) if mapped is not None and np.isfinite(mapped).all() else None

    def put(self, sha256: str, channel: ChannelName, logmel: NDArray[np.float32]) -> None:
        """Keep a spectrogram float32[F, M].

        Raises:
            OutputError: The file cannot be written.
        """
        path = self._path(sha256, channel)
        with atomic_path(path, durable=False) as temporary, temporary.open("wb") as stream:
            np.save(stream, np.ascontiguousarray(logmel, dtype=np.float32), allow_pickle=False)

    def _open(self, sha256: str, channel: ChannelName) -> NDArray[np.float32] | None:
        try:
            mapped = np.load(self._path(sha256, channel), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        good = isinstance(mapped, np.ndarray) and mapped.dtype == np.float32 and mapped.ndim == 2
        return mapped if good else None

    def _path(self, sha256: str, channel: ChannelName) -> Path:
        return self._folder / sha256[:2] / f"{sha256}_{channel}.npy"


def _parse(line: bytes) -> ClipFacts | None:
    try:
        values = json.loads(line.decode(errors="surrogateescape"))
        return ClipFacts(**{**values, "flags": tuple(values["flags"])})
    except (ValueError, TypeError, KeyError):
        return None


def _place(key: tuple[str, ChannelName]) -> tuple[str, str, int]:
    """Return what keys are ordered by: path, then channels by number before reductions by name."""
    path, channel = key
    return (path, channel, 0) if isinstance(channel, str) else (path, "", channel)


def _absolute(path: Path | str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - no link is followed and no disk is touched


def _state(path: Path | str) -> tuple[int, int]:
    """Return size and time of change; (-1, -1) for a file that cannot be looked at."""
    try:
        stat = Path(path).stat()
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns
