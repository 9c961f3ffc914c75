"""A feed: where running sound comes from. A folder, a microphone, standard input or a network stream can be one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from echobank.machines.listener import Heard, Listener


@dataclass(frozen=True)
class Arrival:
    """A piece of sound that is finished and embedded: a recording, or some windows of a stream.

    Attributes:
        name: The recording or the source; the verdicts are named after it.
        stamp: Distinguishes it from an earlier piece of the same name.
        heard: What was heard in it.
        places: An identifier of each window, unique for the machine; a recording that could
            not be used has one.
        times: When each was recorded, ISO 8601.
    """

    name: str
    stamp: str
    heard: Heard
    places: tuple[str, ...]
    times: tuple[str, ...]


class Feed(Protocol):
    """A place that sound comes from."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What a journal is bound to, for example the folder: another feed must not continue it."""
        ...

    @property
    def title(self) -> str:
        """The feed in a sentence, for example "in /data/pump7"."""
        ...

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with it at this moment."""
        ...

    @property
    def left_out(self) -> tuple[str, ...]:
        """What was passed over at the last look, one sentence per kind."""
        ...

    @property
    def conditions(self) -> tuple[dict[str, Any], ...]:
        """What was wrong with the sound so far, with start, length and count, as plain values."""
        ...

    @property
    def silence(self) -> float:
        """Seconds since the last recording, or since there was sound."""
        ...

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        ...

    @property
    def ended(self) -> bool:
        """Whether no more sound will ever come."""
        ...

    @property
    def rest(self) -> float:
        """Least time to wait before the next poll, seconds."""
        ...

    def arrivals(self, listener: Listener, seen: Mapping[str, str]) -> Iterator[Arrival]:
        """Yield what is new and finished, in order, without waiting for more.

        Args:
            listener: Embeds it.
            seen: Stamp of the last piece by name; those are done.
        """
        ...

    def present(self) -> dict[str, str]:
        """Return the stamp of every piece that is there already, by name."""
        ...

    def remembered(self, seen: Mapping[str, str]) -> dict[str, str] | None:
        """Return what of `seen` may still be needed, or None when that cannot be known at this moment."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...
