"""The stage before the bank, where it is wanted: an adapter for the encoder, from all machines' normal clips."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from echobank.config import Config
from echobank.data.audio import Clip
from echobank.data.dcase import Dataset, Recording
from echobank.errors import ConfigError, InputError, WeightsError
from echobank.models.beats.adapter import load_adapter, write_merged
from echobank.models.beats.beats_encoder import BeatsEncoder
from echobank.models.encoder import Float32
from echobank.models.registry import find_weights
from echobank.pipeline.run import Run
from echobank.training.fine_tuning import Finetuned, finetune
from echobank.training.material import gather
from echobank.training.task import Base, prepare

FOLDER = "finetune"


def finetune_run(run: Run) -> Finetuned:
    """Train an adapter for all machines of the configuration together and write it below `output.dir`.

    Raises:
        ConfigError: An adapter is already configured.
        InputError: The encoder cannot take an adapter, there is one label only, or the folder holds another run.
        OutputError: A file cannot be written.
    """
    result = finetune_on(run, run.dataset, run.config, FOLDER)
    facts = {
        "adapter": result.path.name,
        "sha256": result.adapter.sha256,
        "labels": len(result.task.labels),
        "learned": len(result.task.learned),
        "held_out": len(result.task.held),
        "steps": result.journal.step,
        "best": result.journal.best,
        "skipped": [item.reason for item in result.task.material.skipped],
    }
    run.record("finetune", facts)
    return result


def finetune_on(run: Run, dataset: Dataset, config: Config, folder: str) -> Finetuned:
    """Train an adapter on the normal training clips of a data set, into a folder below `output.dir`.

    Raises:
        ConfigError: An adapter is already configured.
        InputError: As `finetune_run`.
        OutputError: A file cannot be written.
    """
    if run.config.weights.adapter:
        raise ConfigError(
            "fine-tuning starts from the encoder alone", value=run.config.weights.adapter, hint="leave out the adapter"
        )
    found, model = trainable(run), run.config.model
    encoder = found.encoder

    def load(recording: Recording) -> Clip:
        return run.reader.load(recording.path)

    def embed(clips: Sequence[Recording]) -> Float32:
        sources = [run.reader.source(clip.path, allow_silent=False) for clip in clips]
        return run.embed(sources, "embed for pseudo-labels").vectors.reshape(len(clips), -1)

    _, card, path = find_weights(model.embedding, run.config.weights.path, run.config.weights.cache)
    if not isinstance(encoder, BeatsEncoder) or path is None:
        raise InputError(
            "only encoders of the BEATs architecture can be fine-tuned",
            value=run.config.model.embedding,
            hint="set model.embedding to a BEATs card or checkpoint",
        )
    name = run.config.weights.path or (card.name if card else model.embedding)
    base = Base(encoder, name, path, model.layer)
    material = gather(dataset, load, run.progress)
    task = prepare(material, base, load, config.finetune, config.augmentation, seed=config.seed, embed=embed)
    return finetune(task, run.output / folder, run.progress)


def trainable(run: Run) -> Run:
    """Return the run with its encoder in float32 and not compiled: what gradients can go through."""
    model = dataclasses.replace(run.config.model, precision="fp32", compile=False)
    return Run(dataclasses.replace(run.config, model=model), run.progress)


def with_adapter(run: Run, result: Finetuned) -> Run:
    """Return the run with the encoder as fine-tuned."""
    weights = dataclasses.replace(run.config.weights, adapter=str(result.path))
    return Run(dataclasses.replace(run.config, weights=weights), run.progress)


def merge_files(config: Config, adapter: Path, out: Path) -> Path:
    """Write an adapter and the weights it belongs to as one checkpoint of the official format; return the file.

    Args:
        config: `weights.path` says where the base lies; without it the base that the adapter names is looked for.
        adapter: The adapter.
        out: The new checkpoint.

    Raises:
        WeightsError: The adapter is damaged, or its base is missing or another one.
        OutputError: The file cannot be written.
    """
    named = config.weights.path or load_adapter(adapter).card.base
    _, _, base = find_weights(named, None, config.weights.cache)
    if base is None:
        raise WeightsError("the adapter's base has no weights file", value=named, where=adapter)
    write_merged(base, adapter, out)
    return out
