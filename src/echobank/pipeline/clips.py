"""Recordings as sources of features: the index and the log-mel cache first, the audio file where they have nothing."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from echobank.data.audio import Clip, read_clip
from echobank.data.augment import Augmentation, generator
from echobank.data.channels import ChannelName
from echobank.data.index import ClipFacts, ClipIndex, LogmelCache, facts_of
from echobank.errors import AudioError
from echobank.models.encoder import Feature, Float32, Sourced
from echobank.models.feeding import Source


@dataclass(frozen=True)
class ClipReader:
    """Reads recordings for one encoder, through the caches that `preprocess` filled.

    Attributes:
        sample_rate: Rate in Hz that the encoder hears at.
        channel: What is heard of a recording: a channel, from 0, or "w1" (`Channel`).
        front_end: Function from waveform float32[T] to log-mel float32[F, M]; None passes waveforms on.
        index: Facts of the clips that were read before.
        logmels: Log-mel spectrograms of the clips that were read before; None keeps none.
        with_source: Whether the encoder hears the source; changed copies are made at its own rate all the same.
    """

    sample_rate: int
    channel: ChannelName
    front_end: Callable[[Float32], Float32] | None
    index: ClipIndex
    logmels: LogmelCache | None
    with_source: bool = False

    def load(self, path: Path) -> Clip:
        """Read the audio of a recording.

        Raises:
            AudioError: It cannot be used.
        """
        return read_clip(path, sample_rate=self.sample_rate, channel=self.channel, source=self.with_source)

    def check(self, path: Path) -> ClipFacts:
        """Return the facts of a recording; read it and fill the caches unless they have it.

        Raises:
            AudioError: The recording cannot be used.
        """
        known = self._known(path)
        if known and (self.logmels is None or self.logmels.has(known.sha256, self.channel)):
            return known
        return self._read(path)[0]

    def features(self, path: Path) -> tuple[ClipFacts, Feature]:
        """Return the facts of a recording and what the encoder takes: log-mel float32[F, M] or waveform float32[T].

        Raises:
            AudioError: The recording cannot be used.
        """
        known = self._known(path)
        if known and self.logmels is not None:
            cached = self.logmels.get(known.sha256, self.channel)
            if cached is not None:
                return known, cached
        return self._read(path)

    def source(self, path: Path, *, allow_silent: bool) -> Source:
        """Return a recording as a source for the encoder.

        Args:
            path: The recording.
            allow_silent: False refuses a silent clip: in a bank it would make silence normal.
        """
        known = self.index.find(path, self.channel)
        usable = known and not known.error and (allow_silent or "silent" not in known.flags)
        identity = self.identity(known) if known and usable else ""
        return Source(path.name, identity, partial(_read_clip, self, path, allow_silent))

    def augmented(self, path: Path, change: Augmentation, noises: "Noises", seed: int) -> Source:
        """Return a changed copy of a recording that `check` accepted.

        What it sounds like depends on its content, the change, the noise clips and the seed, on nothing else.
        """
        facts = self.check(path)
        text = f"{self.identity(facts)} {change.label} {noises.sha256} {seed}"
        identity = hashlib.sha256(text.encode()).hexdigest()
        read = partial(_read_changed, self, path, change, noises, seed, facts.sha256, identity)
        return Source(f"{path.name} ({change.label})", identity, read)

    def identity(self, facts: ClipFacts) -> str:
        """Return what the store knows a recording by: its content and the channel."""
        if self.channel == 0:
            return facts.sha256
        return hashlib.sha256(f"{facts.sha256} channel {self.channel}".encode()).hexdigest()

    def _known(self, path: Path) -> ClipFacts | None:
        known = self.index.find(path, self.channel)
        if known and known.error:
            raise AudioError(known.error)
        return known

    def _read(self, path: Path) -> tuple[ClipFacts, Feature]:
        try:
            clip = self.load(path)
        except AudioError as error:
            self.index.add(facts_of(path, self.channel, error=str(error)))
            raise
        facts = facts_of(path, self.channel, clip=clip)
        features: Feature = clip.samples
        if self.front_end:
            features = logmel = self.front_end(clip.samples)
            if self.logmels is not None:
                self.logmels.put(clip.sha256, self.channel, logmel)
        elif clip.source is not None:
            features = Sourced(clip.samples, clip.source, clip.source_rate)
        self.index.add(facts)
        return facts, features


@dataclass(frozen=True)
class Noises:
    """The noise-only clips of a machine.

    Attributes:
        clips: float32[T] each, at the encoder's rate.
        sha256: Hash of them all.
    """

    clips: tuple[Float32, ...]
    sha256: str


def _read_clip(reader: ClipReader, path: Path, allow_silent: bool) -> tuple[str, Feature]:
    facts, features = reader.features(path)
    if "silent" in facts.flags and not allow_silent:
        raise AudioError("silent, not used for training", where=path)
    return reader.identity(facts), features


def _read_changed(
    reader: ClipReader, path: Path, change: Augmentation, noises: Noises, seed: int, sha256: str, identity: str
) -> tuple[str, Feature]:
    rng = generator(seed, sha256, change.label)
    samples = change.apply(reader.load(path).samples, reader.sample_rate, noises.clips, rng)
    return identity, reader.front_end(samples) if reader.front_end else samples


def load_noises(paths: Sequence[Path], reader: ClipReader) -> Noises:
    """Return the noise-only clips that can be used, in the order of their names; silent ones are left out."""
    clips: list[Float32] = []
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.name):
        try:
            clip = reader.load(path)
        except AudioError:
            continue
        if "silent" not in clip.flags:
            clips.append(clip.samples)
            digest.update(clip.sha256.encode())
    return Noises(tuple(clips), digest.hexdigest())
