"""Several encoders that hear the same clip: `soundnet+spectrum`. The embedding keeps each part as its own slice."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import soxr
from numpy.typing import NDArray

from echobank.data.audio import RESAMPLER_QUALITY
from echobank.errors import ConfigError
from echobank.models.encoder import Encoder, EncoderFacts, Feature, Float32, Sourced, hears_source, waveform_of
from echobank.models.pooling import Pooling, pool

JOINT = "+"


@dataclass(frozen=True)
class JoinedFacts(EncoderFacts):
    """Facts of a joined encoder.

    Attributes:
        parts: Facts of each part by its name; `name` has the names in order, joined by "+".
    """

    parts: Mapping[str, EncoderFacts] = field(default_factory=dict)


class JoinedEncoder:
    """Encoders side by side. `tokens` gives those of the first part; `embed` gives every part.

    It hears at the highest rate of its parts, and each part at its own; a part that hears the source gets the samples
    of the recording.

    Args:
        parts: Two encoders or more.

    Raises:
        ConfigError: One part, a part twice, or one that cannot be told apart by its name.
    """

    def __init__(self, parts: Sequence[Encoder]) -> None:
        names = [part.facts.name for part in parts]
        if len(set(names)) < max(len(names), 2) or any(JOINT in name for name in names):
            raise ConfigError("joined encoders need names of their own", value=JOINT.join(names))
        self._parts = tuple(parts)
        self.hears_source = any(map(hears_source, parts))
        first = parts[0].facts
        digest = hashlib.sha256("".join(part.facts.weights_sha256 for part in parts).encode())
        self.facts = JoinedFacts(
            **asdict(first)
            | {
                "name": JOINT.join(names),
                "weights_sha256": digest.hexdigest() if any(part.facts.weights_sha256 for part in parts) else "",
                "sample_rate": max(part.facts.sample_rate for part in parts),
                "front_end": "",  # parts need not share one
                "layers": 1,
            },
            parts={part.facts.name: part.facts for part in parts},
        )

    @property
    def parts(self) -> tuple[Encoder, ...]:
        """The encoders, in order."""
        return self._parts

    @property
    def band_edges_hz(self) -> NDArray[np.float64]:
        """Edges of the bands of the first part, float64[Pf, 2], Hz."""
        return self._parts[0].band_edges_hz

    def tokens(self, waveforms: Sequence[Feature], layer: int | None = None) -> list[Float32]:
        """Return the tokens of the first part, float32[Pt, Pf, D] per clip.

        Raises:
            AudioError: A clip that the part cannot use.
            ConfigError: A layer was chosen.
        """
        return self._tokens(self._parts[0], waveforms, layer)

    def embed(
        self, features: Sequence[Feature], poolings: Sequence[Pooling], layer: int | None = None
    ) -> list[list[Float32]]:
        """Return the embedding of each waveform by each pooling, float32[1, the sum of H D over parts].

        Each part is pooled on its own and laid out band after band; `detection.backends.part` takes it out again.

        Raises:
            AudioError: A clip that a part cannot use.
            ConfigError: A layer was chosen.
        """
        grids = [self._tokens(part, features, layer) for part in self._parts]
        return [
            [
                np.concatenate([self._pooled(i, grid, pooling) for i, grid in enumerate(clip)], axis=1)
                for pooling in poolings
            ]
            for clip in zip(*grids, strict=True)
        ]

    def _pooled(self, number: int, grid: Float32, pooling: Pooling) -> Float32:
        """Return float32[1, H D] of the tokens of a part; one token per clip is left as it is."""
        whole = self._parts[number].facts.token_seconds == 0
        return (grid if whole else pool(grid, pooling)).reshape(1, -1)

    def _tokens(self, part: Encoder, waveforms: Sequence[Feature], layer: int | None) -> list[Float32]:
        _refuse(layer)
        if hears_source(part):
            rate = self.facts.sample_rate
            return part.tokens([x if isinstance(x, Sourced) else Sourced(x, x, rate) for x in waveforms])
        return part.tokens([self._heard(waveform_of(waveform), part) for waveform in waveforms])

    def _heard(self, waveform: Float32, part: Encoder) -> Float32:
        rate = part.facts.sample_rate
        if rate == self.facts.sample_rate:
            return waveform
        return np.asarray(soxr.resample(waveform, self.facts.sample_rate, rate, RESAMPLER_QUALITY), dtype=np.float32)


def _refuse(layer: int | None) -> None:
    if layer not in (None, 1):
        raise ConfigError("the parts of a joined encoder give their last layers", value=layer, hint="layer=null")
