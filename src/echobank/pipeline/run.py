"""What the stages of a run share: recordings, encoder, the reader with its caches, and the record of the run."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from echobank.config import Config, to_dict
from echobank.data.channels import Channel
from echobank.data.dcase import Dataset, scan
from echobank.data.index import ClipIndex, LogmelCache
from echobank.detection.header import BankHeader
from echobank.errors import InputError
from echobank.library_versions import library_versions
from echobank.models.embedding_store import EmbeddingStore
from echobank.models.encoder import Encoder, Float32
from echobank.models.feeding import Embedded, Source, embed
from echobank.models.logmel import KALDI_128, logmel, logmel_torch
from echobank.models.pooling import Pooling
from echobank.models.provenance import Provenance
from echobank.models.registry import front_end_of, load_encoder, needs_torch, source_is_heard
from echobank.models.torch_extra import require_torch
from echobank.pipeline.clips import ClipReader
from echobank.progress import Progress, silent
from echobank.storage import write_json

_REMEMBERED = "dataset.json"


@dataclass(frozen=True)
class Run:
    """One run of a stage: a configuration and what it leads to, each made on first use."""

    config: Config
    progress: Progress = silent

    @cached_property
    def root(self) -> Path:
        """Folder of the recordings: `data.root`, else the one that `preprocess` remembered in the cache.

        Raises:
            InputError: Neither is there.
        """
        if self.config.data.root:
            return Path(self.config.data.root)
        try:
            return Path(json.loads(self._remembered.read_text(encoding="utf-8"))["root"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                "no folder of recordings is given", hint="set data.root, or run preprocess --dcase_root first"
            ) from error

    @cached_property
    def dataset(self) -> Dataset:
        """The recordings of the machines that the configuration asks for."""
        return scan(self.root, self.config.data.machines)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, with its weights."""
        model, weights = self.config.model, self.config.weights
        return load_encoder(
            model.embedding,
            device=model.device,
            precision=model.precision,
            compile=model.compile,
            weights=weights.path,
            cache=weights.cache,
            adapter=weights.adapter,
        )

    @cached_property
    def reader(self) -> ClipReader:
        """Reads clips for the encoder through the caches; needs no weights.

        Without a log-mel cache a GPU gets waveforms and makes the log-mel itself.

        Raises:
            ConfigError: The encoder needs torch, which is not installed.
        """
        model = self.config.model
        rate, name = front_end_of(model.embedding)
        with_torch = needs_torch(model.embedding)
        if with_torch:
            require_torch(model.embedding)
        cacheable = name == KALDI_128
        keep = cacheable and self.config.data.logmel_cache
        here = cacheable and (keep or not with_torch or not _on_gpu(model.device))
        front_end: Callable[[Float32], Float32] | None = None
        if here:
            front_end = logmel_torch if with_torch else logmel
        return ClipReader(
            rate,
            self.config.data.channel,
            front_end,
            ClipIndex(self.cache),
            LogmelCache(self.cache, name) if keep else None,
            source_is_heard(self.config.model.embedding),
        )

    @cached_property
    def cache(self) -> Path:
        """Folder of the index, log-mels and embeddings."""
        return Path(self.config.data.cache)

    @cached_property
    def output(self) -> Path:
        """Folder of the results."""
        return Path(self.config.output.dir)

    @cached_property
    def pooling(self) -> Pooling:
        """Tokens to embedding."""
        model = self.config.model
        return Pooling(model.pooling, model.bands, model.pooling_params)

    @cached_property
    def provenance(self) -> Provenance:
        """What makes embeddings here: part of the header of a bank, and the key of the store."""
        return self.provenance_with(self.pooling)

    def provenance_with(self, pooling: Pooling) -> Provenance:
        """As `provenance`, for another pooling."""
        facts, layer = self.encoder.facts, self.config.model.layer
        return Provenance(facts, pooling, layer=layer, channel=Channel.of(self.config.data.channel))

    @property
    def header(self) -> BankHeader:
        """Header of a bank that is filled here, before it is known how it scores itself."""
        return BankHeader(self.provenance, versions=library_versions())

    def embed(self, sources: list[Source], label: str) -> Embedded:
        """Embed clips through the store."""
        return embed(
            sources,
            self.encoder,
            self.pooling,
            layer=self.config.model.layer,
            batch_size=self.config.model.batch_size,
            workers=self.config.data.workers,
            store=EmbeddingStore(self.cache, self.provenance),
            progress=self.progress,
            label=label,
        )

    def remember_root(self) -> None:
        """Remember the folder of the recordings for later stages."""
        write_json(self._remembered, {"root": str(self.root.resolve())})

    def bank_path(self, machine: str, section: str) -> Path:
        """Where the bank of a machine and section lies."""
        return self.output / "banks" / f"{machine}_section_{section}.safetensors"

    def record(self, stage: str, facts: dict[str, Any]) -> Path:
        """Write how a stage was run beside its results: settings, versions, encoder, seed, what it did.

        Raises:
            OutputError: It cannot be written.
        """
        path = self.output / "run.json"
        try:
            stages = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            stages = {}
        stages[stage] = {
            "config": to_dict(self.config),
            "encoder": asdict(self.encoder.facts),
            "versions": library_versions(),
            **facts,
        }
        write_json(path, stages)
        return path

    @property
    def _remembered(self) -> Path:
        return Path(self.config.data.cache) / _REMEMBERED


def _on_gpu(device: str) -> bool:
    from echobank.models.device import pick_device

    return pick_device(device).type != "cpu"
