"""A folder of recordings: which files of its tree are recordings, quickly, for 100,000 of them at every look.

What sounds but cannot be read, and what a walk passes over, is counted, so that nothing is left out silently.
"""

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from echobank.data.audio import AUDIO_SUFFIXES
from echobank.errors import InputError

# Sound that libsndfile does not decode, or only in part; ffmpeg converts each.
FOREIGN_SUFFIXES = (
    *(".aac", ".ac3", ".alac", ".amr", ".ape", ".dff", ".dsf", ".dts", ".eac3", ".m4a", ".m4b", ".mp2", ".mpc"),
    *(".pcm", ".ra", ".sph", ".spx", ".tta", ".voc", ".wma", ".wv", ".mka"),
    *(".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".vob", ".webm", ".wmv"),
)
LINKED_FOLDER, BROKEN_LINK, NO_FILE = "linked folder", "broken link", "name of a recording that is no file"


@dataclass
class LeftOut:
    """What walks passed over.

    Attributes:
        kinds: How many of each kind: a suffix such as ".m4a", `LINKED_FOLDER`, `BROKEN_LINK` or `NO_FILE`.
        refused: Folders that could not be listed and files that could not be looked at, with the system's reason.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def lines(self) -> tuple[str, ...]:
        """What was left out and what to do about it: one sentence per kind, and one per place that was refused."""
        return (*self.kind_lines, *self.troubles)

    @property
    def kind_lines(self) -> tuple[str, ...]:
        """What was left out and what to do about it, one sentence per kind."""
        return tuple(_sentence(kind, count) for kind, count in sorted(self.kinds.items()))

    @property
    def troubles(self) -> tuple[str, ...]:
        """What the system refused, one line per place."""
        return tuple(f"{place}: {reason}" for place, reason in sorted(self.refused.items()))


def recordings_in(
    folder: Path, *, strict: bool = False, left_out: LeftOut | None = None
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield name (relative, with forward slashes) and facts of every recording in a folder tree, in no order.

    Names that begin with a dot are left out, with everything in such folders; links to folders are not followed. A
    file or folder that vanishes meanwhile is passed over.

    Args:
        folder: The folder.
        strict: True raises where the folder itself cannot be listed; False goes on.
        left_out: Collects what is passed over, and where the system refuses to list a folder or to look at a file.

    Raises:
        InputError: The folder itself cannot be listed.
    """
    left_out = left_out if left_out is not None else LeftOut()
    waiting = [("", os.fspath(folder))]
    while waiting:
        prefix, place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                listed = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            if prefix and error.errno in (errno.ENOENT, errno.ENOTDIR):
                continue
            reason = f"the folder cannot be listed ({error.strerror})"
            if strict and not prefix:
                raise InputError(reason, where=place) from error
            left_out.refused[place] = reason
            continue
        for entry in listed:
            if entry.is_dir(follow_symlinks=False):
                waiting.append((f"{prefix}{entry.name}/", entry.path))
            elif facts := _facts(entry, left_out):
                yield f"{prefix}{entry.name}", facts


def is_recording(name: str) -> bool:
    """Return whether a file name ends as those of recordings do."""
    return _suffix(name) in AUDIO_SUFFIXES


def is_foreign(name: str) -> bool:
    """Return whether a file name ends as that of sound which cannot be read here."""
    return _suffix(name) in FOREIGN_SUFFIXES


def _facts(entry: "os.DirEntry[str]", left_out: LeftOut) -> os.stat_result | None:
    """Return the facts of a recording; None for everything else, counted where a person may miss it."""
    if not is_recording(entry.name):
        if is_foreign(entry.name):
            left_out.kinds[_suffix(entry.name)] += 1
        elif entry.is_symlink() and _is_dir(entry):
            left_out.kinds[LINKED_FOLDER] += 1
        return None
    try:
        facts = entry.stat()
    except FileNotFoundError:
        if entry.is_symlink():
            left_out.kinds[BROKEN_LINK] += 1
        return None
    except OSError as error:
        left_out.refused[entry.path] = f"the file cannot be looked at ({error.strerror})"
        return None
    if stat.S_ISREG(facts.st_mode):
        return facts
    left_out.kinds[LINKED_FOLDER if stat.S_ISDIR(facts.st_mode) else NO_FILE] += 1
    return None


def _is_dir(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  (a Path for each is ten times slower)


def _sentence(kind: str, count: int) -> str:
    if kind.startswith("."):
        return f"left out: {count} {kind} (convert with ffmpeg, for example to .flac)"
    advice = {LINKED_FOLDER: " (name it itself to include it)"}.get(kind, "")
    return f"left out: {count} {kind}{'s' if count > 1 and kind != NO_FILE else ''}{advice}"
