"""Replay: what a dataset holds, heard again without an encoder by the functions of one machine."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echobank.errors import InputError
from echobank.machines.listener import Heard, Listener
from echobank.models.encoder import EncoderFacts, Float32
from echobank.models.provenance import Provenance


@dataclass(frozen=True)
class StoredEncoder:
    """The facts of an encoder that is not loaded."""

    facts: EncoderFacts

    @property
    def band_edges_hz(self) -> NDArray[np.float64]:
        """Nothing: a bank does not need them."""
        return np.zeros((0, 2))

    def tokens(self, waveforms: Sequence[Float32], layer: int | None = None) -> list[Float32]:
        """Refuse to hear anything new.

        Raises:
            InputError: Always.
        """
        raise InputError("the embeddings of a dataset are read, not made", value=self.facts.name)


@dataclass(frozen=True)
class ReplayListener(Listener):
    """A listener that has heard its recordings already.

    Attributes:
        recordings: What was heard, by full name.
    """

    recordings: tuple[Heard, ...] = ()

    def hear(self, paths: Iterable[Path], *, profiles: bool = True) -> Generator[Heard, None, None]:
        """Yield what was heard in each recording."""
        known = {heard.path: heard for heard in self.recordings}
        for path in paths:
            yield known[path]


def replay(made: Provenance, recordings: Sequence[Heard]) -> ReplayListener:
    """Return a listener with the provenance of a dataset.

    Raises:
        InputError: The provenance lacks a window.
    """
    if made.window is None:
        raise InputError("a dataset without windows")
    return ReplayListener(
        StoredEncoder(made.encoder),
        made.pooling,
        made.window.seconds,
        made.window.hop,
        made.layer,
        made.channel.identity,
        recordings=tuple(recordings),
    )
