"""The listener: recordings of any length to embeddings of windows, in bounded memory.

With each embedding comes a profile of the window: mean and deviation over time of every mel bin. It is what a
score is explained with, whatever the encoder.
"""

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from echobank.data.channels import Channel, ChannelName
from echobank.data.sound_facts import NAMES, Int16
from echobank.data.windows import Window
from echobank.machines.traits import traits_of
from echobank.machines.window_sources import CutWindows, WindowSource
from echobank.models.encoder import Encoder, Feature, Float32, SpectrogramEncoder, hears_source, waveform_of
from echobank.models.feeding import Outputs, embed_features, feed
from echobank.models.logmel import KALDI_128, SAMPLE_RATE, logmel
from echobank.models.pooling import Pooling
from echobank.models.provenance import Provenance, WindowGrid

Float64 = NDArray[np.float64]
_STORES = (None, None, None)  # of vectors, profiles and traits


@dataclass(frozen=True)
class Heard:
    """What was heard in one recording.

    Attributes:
        path: The recording.
        sha256: Hash of its bytes; empty when it could not be read.
        sound_sha256: Hash of its windows' samples, the same for the same sound in another container; empty where it
            is not known.
        source_rate: Its rate, Hz.
        seconds: Its length.
        vectors: Embeddings of its W windows, float32[W, H, D].
        profiles: Mean and deviation over time of the natural-log mel power, float32[W, 2, M].
        starts: Where each window begins, seconds, float64[W].
        lengths: Length of each window, seconds, float64[W].
        levels: RMS level of each window, dB of full scale, float64[W].
        flags: Quality flags of each window.
        traits: What flags are made of, float32[W, K] (`traits`); K is 0 where the listener takes none.
        error: Why the recording cannot be used; empty when it can.
        facts: Facts of the sound of each window, int16[W, F] (`sound_facts.NAMES`); W is 0 unless requested.
    """

    path: Path
    sha256: str
    source_rate: int
    seconds: float
    vectors: Float32
    profiles: Float32
    starts: Float64
    lengths: Float64
    levels: Float64
    flags: tuple[tuple[str, ...], ...]
    error: str = ""
    sound_sha256: str = ""
    facts: Int16 = field(default_factory=lambda: np.zeros((0, len(NAMES)), np.int16))
    traits: Float32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True)
class Listener:
    """Cuts recordings into windows and embeds them.

    Attributes:
        encoder: Window to tokens.
        pooling: Tokens to embedding.
        seconds: Length of a window.
        hop: Distance between the beginnings of windows, seconds.
        layer: Layer of the encoder, from 1; None is the last.
        channel: What is heard of a recording: a channel, from 0, or "w1" (`Channel`).
        batch_size: Windows per batch; 0 takes what suits where the encoder runs.
        workers: Threads that read and embed; 0 takes one per core.
        facts: Whether the facts of the sound are wanted besides: what a trend keeps of the recording chain.
        traits: Whether swings and impulses are taken besides: what flags are made of.
    """

    encoder: Encoder
    pooling: Pooling
    seconds: float = 10.0
    hop: float = 5.0
    layer: int | None = None
    channel: ChannelName = 0
    batch_size: int = 0
    workers: int = 0
    facts: bool = False
    traits: bool = False

    @property
    def provenance(self) -> Provenance:
        """Everything that an embedding depends on besides the recording."""
        grid = WindowGrid(self.seconds, self.hop)
        return Provenance(
            self.encoder.facts, self.pooling, layer=self.layer, window=grid, channel=Channel.of(self.channel)
        )

    def hear(self, paths: Iterable[Path], *, profiles: bool = True) -> Generator[Heard, None, None]:
        """Yield what is heard in each recording, in order; one that cannot be used says why.

        Args:
            paths: Recordings; they are read some batches ahead.
            profiles: False leaves them out, which takes much less time; then M is 0.
        """
        sources = (self.source(path) for path in paths)
        outputs = partial(self._outputs, profiles=profiles)
        size, workers = self.batch_size, self.workers
        with closing(feed(sources, outputs, _STORES, self.encoder, batch_size=size, workers=workers)) as stream:
            for fed in stream:
                path = Path(fed.name)
                yield _unheard(path, fed.error) if fed.error else _heard(path, fed.facts, fed.outputs)

    def source(self, path: Path) -> WindowSource:
        """Return a recording as a source of windows for the feeder."""
        rate, with_source = self.encoder.facts.sample_rate, hears_source(self.encoder)
        return WindowSource(path, self.seconds, self.hop, rate, self.channel, with_source, self.facts)

    def hear_windows(self, path: Path, windows: Sequence[Window], *, profiles: bool = True) -> Heard:
        """Return what is heard in windows that are cut already, for example those of a stream.

        Args:
            path: What they are called.
            windows: At least one.
            profiles: As `hear`.
        """
        outputs = partial(self._outputs, profiles=profiles)
        source = CutWindows(path, tuple(windows))
        with closing(feed([source], outputs, _STORES, self.encoder, batch_size=self.batch_size)) as stream:
            fed = next(stream)
        return _unheard(path, fed.error) if fed.error else _heard(path, fed.facts, fed.outputs)

    def windows(self, path: Path) -> Iterator[Window]:
        """Yield the windows of a recording, with their source where the encoder hears it.

        Raises:
            AudioError: It cannot be read.
        """
        return self.source(path).windows()

    def embed(self, samples: Sequence[Feature], *, profiles: bool = True) -> tuple[Float32, Float32, Float32]:
        """Return embeddings float32[B, H, D], profiles float32[B, 2, M] and traits float32[B, K] of waveforms.

        The log-mel spectrogram is computed once where several of them share it.

        Args:
            samples: The waveforms float32[T], with their source where the encoder hears it.
            profiles: False leaves the profiles out; then M is 0. K is 0 where the listener takes no traits.

        Raises:
            AudioError: A waveform that is shorter than the encoder's shortest input.
        """
        shared = self.encoder.facts.front_end == KALDI_128
        mels = [self.logmel(waveform_of(clip)) for clip in samples] if profiles or shared else []
        features: Sequence[Feature] = mels if shared else samples
        vectors = np.stack([clip[0] for clip in embed_features(features, self.encoder, [self.pooling], self.layer)])
        described, traits = np.zeros((len(samples), 2, 0)), np.zeros((len(samples), 0))
        if profiles:
            described = np.stack([np.stack((mel.mean(axis=0), mel.std(axis=0))) for mel in mels])
        if self.traits:
            rate = self.encoder.facts.sample_rate
            traits = np.stack([traits_of(waveform_of(clip), rate) for clip in samples])
        return vectors.astype(np.float32), described.astype(np.float32), traits.astype(np.float32)

    def logmel(self, samples: Float32) -> Float32:
        """Return the natural-log mel power float32[F, 128] of a waveform at the encoder's rate."""
        rate = self.encoder.facts.sample_rate
        if isinstance(self.encoder, SpectrogramEncoder) and self.encoder.facts.engine == "torch":
            return self.encoder.logmel(samples)  # BEATs hears what torch makes
        if rate != SAMPLE_RATE:
            samples = soxr.resample(samples, rate, SAMPLE_RATE)
        return logmel(samples)

    def _outputs(self, samples: Sequence[Feature], profiles: bool) -> list[Outputs]:
        return [list(outputs) for outputs in zip(*self.embed(samples, profiles=profiles), strict=True)]


def _heard(path: Path, windows: Sequence[Window], outputs: Sequence[Outputs]) -> Heard:
    vectors, profiles, traits = map(np.stack, zip(*outputs, strict=True))
    return Heard(
        path,
        windows[0].sha256,
        windows[0].source_rate,
        max(window.start + window.seconds for window in windows),
        vectors,
        profiles,
        np.array([window.start for window in windows]),
        np.array([window.seconds for window in windows]),
        np.array([window.rms_dbfs for window in windows]),
        tuple(window.flags for window in windows),
        sound_sha256=_sound_of(windows),
        facts=_facts_of(windows),
        traits=traits,
    )


def _sound_of(windows: Sequence[Window]) -> str:
    """Return one hash for the sound of all windows; two recordings are cut alike, so equal sound gives equal hashes."""
    hashes = "".join(window.sound_sha256 for window in windows)
    return hashlib.sha256(hashes.encode()).hexdigest() if hashes else ""


def _facts_of(windows: Sequence[Window]) -> Int16:
    """Return the facts of every window, int16[W, F], or of none where they were not requested."""
    found = [window.facts for window in windows if window.facts is not None]
    return np.stack(found) if len(found) == len(windows) else np.zeros((0, len(NAMES)), np.int16)


def _unheard(path: Path, error: str) -> Heard:
    none = np.zeros(0)
    return Heard(
        path, "", 0, 0.0, np.zeros((0, 1, 1), np.float32), np.zeros((0, 2, 1), np.float32), none, none, none, (), error
    )
