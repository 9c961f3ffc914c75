"""Clips: the sound of each event as FLAC, cut by sample number, with a JSON file that says which samples it holds.

While an event is open its samples are appended to a raw file as they come, so that a watch that is killed loses none of
them; the FLAC is written whole when the event is over. Gaps are not filled: the JSON file lists every stretch with the
number of its first sample in the session and its offset in the clip.
"""

import json
import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from echobank.errors import OutputError
from echobank.storage import atomic_path, write_json
from echobank.watch.feeds.capture import LiveWindow
from echobank.watch.feeds.flac_files import write_flac
from echobank.watch.feeds.ring import Ring
from echobank.watch.feeds.samples import SampleFormat
from echobank.watch.feeds.track import Track


@dataclass(frozen=True)
class ClipSettings:
    """What is kept.

    Attributes:
        folder: Where; every machine has a folder of its own in it.
        before: Seconds before the first window that counted.
        after: Seconds after the window that closed the event.
        longest: Seconds after which a clip ends even though its event goes on.
        most_bytes: Bytes that all clips may take; 0 sets no limit.
        most_days: Age in days after which a clip is removed; 0 sets no limit.
        least_free: Bytes of the disk that are left free.
    """

    folder: Path
    before: float = 10.0
    after: float = 10.0
    longest: float = 600.0
    most_bytes: int = 2 << 30
    most_days: float = 0.0
    least_free: int = 1 << 30


@dataclass
class OpenClip:
    """A clip that is being written."""

    id: str
    session: str
    form: SampleFormat
    next: int
    limit: int
    end: int | None = None
    frames: int = 0
    stretches: list[dict[str, int]] = field(default_factory=list)


class ClipKeeper:
    """Keeps the clips of one machine.

    Args:
        settings: What is kept.
        machine: Its name.
        recent: How many windows an event looks back.
    """

    def __init__(self, settings: ClipSettings, machine: str, recent: int) -> None:
        self._settings, self._machine = settings, machine
        self._place = settings.folder / machine
        self._recent: deque[tuple[str, int, bool]] = deque(maxlen=recent)
        self._open: OpenClip | None = None
        self._begun: set[str] = set()
        self.trouble = ""
        self._guard(self._recover)

    def heard(self, live: LiveWindow, *, above: bool) -> None:
        """Record a window, and whether it counts towards an event."""
        self._recent.append((live.session, live.sample, above))

    def opened(self, event: str, live: LiveWindow, track: Track) -> None:
        """Begin the clip of an event with the first of the windows that led to it."""
        self.close()
        rate = track.form.rate
        led = [sample for session, sample, above in self._recent if session == live.session and above]
        first = max(0, min([live.sample, *led]) - round(self._settings.before * rate))
        self._begun = {event}
        self._open = OpenClip(event, live.session, track.form, first, first + round(self._settings.longest * rate))

    def holds(self, event: str) -> bool:
        """Whether the clip of an event was begun since the start; one that grew too long is finished for good."""
        return event in self._begun

    def closed(self, live: LiveWindow) -> None:
        """End the clip some seconds after the window that closed its event."""
        if self._open is not None:
            self._open.end = live.end + round(self._settings.after * self._open.form.rate)

    def step(self, track: Track | None) -> None:
        """Append what has come since; finish the clip when it is complete. Never raises: what fails is a trouble."""
        clip = self._open
        if clip is None or track is None:
            return
        if track.session != clip.session:
            self.close()
            return
        self._guard(lambda: self._append(clip, track.ring))
        if clip.next >= min(clip.limit, clip.end if clip.end is not None else clip.limit):
            self.close()

    def close(self) -> None:
        """Finish the clip that is open with what there is of it."""
        clip, self._open = self._open, None
        if clip is not None:
            self._guard(lambda: self._finish(clip.id, clip.form, clip.session, clip.stretches))

    def _append(self, clip: OpenClip, ring: Ring) -> None:
        end = min(ring.end, clip.limit, clip.end if clip.end is not None else clip.limit)
        stretches = ring.read(clip.next, end)
        if not stretches:
            return
        self._place.mkdir(parents=True, exist_ok=True)
        with self._raw(clip.id).open("ab", buffering=0) as stream:
            stream.truncate(clip.frames * clip.form.frame)  # what a full disk refused before may be there in part
            for stretch in stretches:
                left = memoryview(stretch.data)
                while left:
                    left = left[stream.write(left) :]
                count = len(stretch.data) // clip.form.frame
                last = clip.stretches[-1] if clip.stretches else None
                if last is not None and last["first"] + last["frames"] == stretch.first:
                    last["frames"] += count
                else:
                    clip.stretches.append({"first": stretch.first, "offset": clip.frames, "frames": count})
                clip.frames += count
        clip.next, self.trouble = end, ""
        facts = {"form": asdict(clip.form), "session": clip.session, "stretches": clip.stretches}
        write_json(self._raw(clip.id).with_suffix(".part.json"), facts)

    def _recover(self) -> None:
        """Finish the clips that a watch left behind when it was killed."""
        for raw in sorted(self._place.glob("*.part")):
            with suppress(ValueError, KeyError, TypeError, OSError):
                facts = json.loads(raw.with_suffix(".part.json").read_text(encoding="utf-8"))
                form = SampleFormat(**facts["form"])
                self._finish(raw.stem, form, facts["session"], facts["stretches"])

    def _finish(self, clip: str, form: SampleFormat, session: str, stretches: Sequence[dict[str, int]]) -> None:
        raw = self._raw(clip)
        if not raw.exists():
            return
        frames = sum(stretch["frames"] for stretch in stretches)
        path = self._free_name(clip)
        with atomic_path(path) as temporary:
            write_flac(temporary, form, _blocks(raw, frames * form.frame, form.frame))
        facts = {"clip": clip, "machine": self._machine, "session": session, "sample_rate": form.rate}
        write_json(path.with_suffix(".json"), {**facts, "channels": form.channels, "stretches": list(stretches)})
        raw.with_suffix(".part.json").unlink(missing_ok=True)
        raw.unlink(missing_ok=True)
        self.prune()

    def prune(self) -> None:
        """Remove the oldest clips until bytes, age and free space are as asked for; those of the open event last."""
        settings = self._settings
        ours = self._open.id if self._open else ""
        found = [(path, path.stat()) for path in settings.folder.rglob("*.flac")]
        found.sort(key=lambda item: (bool(ours) and item[0].stem.startswith(ours), item[1].st_mtime_ns))
        total, now = sum(facts.st_size for _, facts in found), time.time()
        for path, facts in found:
            old = settings.most_days and now - facts.st_mtime > settings.most_days * 86_400
            many = settings.most_bytes and total > settings.most_bytes
            if not (old or many or shutil.disk_usage(settings.folder).free < settings.least_free):
                continue
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
            total -= facts.st_size

    def _raw(self, clip: str) -> Path:
        return self._place / f"{clip}.part"

    def _free_name(self, clip: str) -> Path:
        """Return the name of the next part of a clip: an event that goes on after a restart has several."""
        names = [f"{clip}.flac", *(f"{clip}-{number}.flac" for number in range(2, 10_000))]
        return next(path for name in names if not (path := self._place / name).exists())

    def _guard(self, work: Any) -> None:
        try:
            work()
        except OutputError as error:
            self.trouble = f"clips cannot be kept: {error}"
        except OSError as error:
            self.trouble = f"{self._place}: clips cannot be kept ({error.strerror or error})"


def offset_of(clip: dict[str, Any], sample: int) -> int | None:
    """Return where a sample of the session lies in a clip, or None when the clip does not hold it.

    Args:
        clip: What the JSON file beside the clip says.
        sample: Number of the sample in the session.
    """
    for stretch in clip["stretches"]:
        if 0 <= sample - stretch["first"] < stretch["frames"]:
            return int(stretch["offset"] + sample - stretch["first"])
    return None


def _blocks(raw: Path, size: int, frame: int) -> Iterable[bytes]:
    """Yield the first `size` bytes of a file in blocks of whole frames; fewer when it is shorter."""

    def read() -> Iterator[bytes]:
        left = size
        with raw.open("rb") as stream:
            while left and (block := stream.read(min(left, 65_536 * frame))):
                whole = len(block) - len(block) % frame
                yield block[:whole]
                left -= whole

    return read()
