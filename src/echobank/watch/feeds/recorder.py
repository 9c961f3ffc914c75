"""Recording: a source to FLAC files of a minute, for fitting a machine on what is heard where it stands."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from echobank.errors import InputError
from echobank.storage import atomic_path
from echobank.watch.feeds.capture import Capture, Cutting
from echobank.watch.feeds.flac_files import write_flac
from echobank.watch.feeds.source import SoundSource
from echobank.watch.feeds.track import Track

_FILE_SECONDS = 60
_RING_SECONDS = 180.0  # more than a file, and than what may wait
_SHORTEST = 1.0  # seconds; what is left between two gaps is not worth a file
_POLL = 0.1


@dataclass
class _Progress:
    """Progress of a recording."""

    session: str = ""
    next: int = 0
    seconds: float = 0.0
    files: int = 0


def record(
    source: SoundSource,
    folder: Path,
    name: str,
    *,
    seconds: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], object] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[int, float]:
    """Record until the time is over, the source ends, or it is asked to stop.

    A file holds a minute, or less where sound is missing: no file spans a gap.

    Args:
        source: What is recorded, all channels in its own format.
        folder: Where the files go.
        name: How their names begin; the time follows (UTC).
        seconds: How much sound is wanted; None records on.
        stop: Asked now and then.
        tell: Called with every trouble that is new, and with an empty text when all is well again.
        clock: A monotonic clock, seconds; gaps are judged by it.

    Returns:
        Number of files, and seconds of sound in them.

    Raises:
        InputError: Nothing was heard.
        OutputError: A file cannot be written.
    """
    capture = Capture(source, Cutting(1.0, 1.0, 16_000), _RING_SECONDS, clock)
    progress, said = _Progress(), ""
    capture.begin()
    try:
        while True:
            ended = capture.finished or stop()
            windows = capture.take(1 << 20)
            track = capture.reception.track
            done = track is not None and _write(track, folder, name, progress, seconds, flush=ended)
            capture.done(windows)
            if capture.failure is not None:
                raise capture.failure
            if capture.reception.trouble != said:
                said = capture.reception.trouble
                tell(said)
            if done or ended:
                break
            time.sleep(_POLL)
    finally:
        capture.close()
    if not progress.files:
        raise InputError(f"nothing was recorded {source.title}", value=said or None)
    return progress.files, progress.seconds


def _write(track: Track, folder: Path, name: str, progress: _Progress, wanted: float | None, *, flush: bool) -> bool:
    """Write what is complete; return whether there is enough."""
    rate = track.form.rate
    if progress.session != track.session:
        progress.session, progress.next = track.session, 0
    while True:
        left = _FILE_SECONDS if wanted is None else min(float(_FILE_SECONDS), wanted - progress.seconds)
        if left <= 0.5 / rate:
            return True
        pieces = track.ring.read(progress.next, 1 << 62)
        if not pieces:
            return False
        first, count = pieces[0], round(left * rate)
        whole = len(first.data) // track.form.frame
        if whole < count and not flush and len(pieces) == 1:
            return False
        count = min(count, whole)
        if count / rate >= min(_SHORTEST, left):
            start = track.moment(first.first)
            data = first.data[: count * track.form.frame]
            with atomic_path(folder / f"{name}_{_stamp(start)}.flac") as temporary:
                write_flac(temporary, track.form, [data])
            progress.files, progress.seconds = progress.files + 1, progress.seconds + count / rate
        progress.next = first.first + count


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H-%M-%S") + f".{when.microsecond // 1000:03d}Z"
