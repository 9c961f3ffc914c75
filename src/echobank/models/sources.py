"""Sources of sound for the feeder: a clip, or a recording that is cut into windows. Both come in pieces."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from echobank.models.encoder import Feature


@dataclass(frozen=True)
class Piece:
    """What the encoder takes as one: a clip, or a window of a recording.

    Attributes:
        identity: Hash of its content and of every change made to it, hexadecimal; the key of the store.
        features: The waveform float32[T], log-mel float32[F, M] where the encoder takes spectrograms, or the waveform
            with its source where the encoder hears the source.
        facts: What the caller wants to know about it afterwards; the feeder only hands it through.
    """

    identity: str
    features: Feature
    facts: Any = None


class Feedable(Protocol):
    """Something that the feeder reads; a frozen dataclass of plain values, so that it can go to another process."""

    @property
    def name(self) -> str:
        """How it is called in messages."""
        ...

    def pieces(self) -> Iterator[Piece]:
        """Yield its pieces in order; runs in worker threads, one step at a time.

        Raises:
            AudioError: It cannot be used. Whatever else is raised becomes the reason that it was left out, too.
        """
        ...


@dataclass(frozen=True)
class Source:
    """One clip to embed.

    Attributes:
        name: How the clip is called in messages.
        identity: As `Piece`; empty when it is only known after reading. Where it is known and the store has the
            embedding, the clip is not read.
        read: Returns identity and features.

    Raises:
        AudioError: From `read`, for a recording that cannot be used.
    """

    name: str
    identity: str
    read: Callable[[], tuple[str, Feature]]

    def pieces(self) -> Iterator[Piece]:
        """Yield the clip."""
        yield Piece(*self.read())
