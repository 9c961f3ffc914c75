"""Fit: the embeddings of one machine in a dataset to its bank, the same that `fit` makes of the recordings."""

import hashlib
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echobank.errors import BankError, ConfigError, InputError
from echobank.fleet.dataset import MadeBy, VectorDataset
from echobank.fleet.location import Location
from echobank.fleet.reasons import Reasons
from echobank.fleet.replay import replay
from echobank.machines import archive
from echobank.machines.fit import FitSettings, fit_heard
from echobank.machines.harvest import Harvest
from echobank.machines.machine import Machine
from echobank.machines.tags import Tagging
from echobank.settings import Config

BANK, RECORD = "bank.safetensors", "fleet.json"


@dataclass(frozen=True)
class FleetFitSettings:
    """What an actor needs to fit.

    Attributes:
        config: How banks are scored.
        dataset: Where the embeddings are.
        made: What made them.
        banks: Where banks go.
        tagging: Where operating states come from.
        rate: False-alarm rate; None takes the usual one.
    """

    config: Config
    dataset: Location
    made: MadeBy
    banks: Location
    tagging: Tagging = field(default_factory=Tagging)
    rate: float | None = None


@dataclass(frozen=True)
class FitTask:
    """A machine, and the days whose recordings are healthy."""

    machine: str
    days: tuple[str, ...]


@dataclass(frozen=True)
class FitDone:
    """The result of one machine.

    Attributes:
        rows: Rows of its bank; 0 where it was not fitted.
        recordings: Recordings that they are of.
        fresh: Whether the bank was written; False where it was there, of the same embeddings.
        error: Why there is no bank.
        skipped: Recordings that were left out.
    """

    rows: int = 0
    recordings: int = 0
    fresh: bool = True
    error: str = ""
    skipped: Reasons = field(default_factory=Reasons)


def fit_config(config: Config, made: MadeBy) -> Config:
    """Return the configuration of a fit after checking that it asks for what made the dataset.

    Raises:
        ConfigError: It asks for another encoder, pooling or channel, or for flags that the dataset cannot give.
    """
    model, settings = config.model, made.settings
    asked = {name: getattr(model, name) for name in ("embedding", "layer", "pooling", "pooling_params", "bands")}
    asked |= {"precision": model.precision, "channel": config.data.channel}
    for name, value in asked.items():
        if value != settings[name]:
            raise ConfigError(
                f"the dataset was made with {name} {settings[name]!r}", value=value, hint="embed again, or leave it out"
            )
    if config.scoring.flag_rate > 0 and not made.traits:
        hint = "embed again without scoring.flag_rate=0"
        raise ConfigError("the dataset keeps nothing to make flags of", value=config.scoring.flag_rate, hint=hint)
    return config


def overrides_of(made: MadeBy) -> tuple[str, ...]:
    """Return the settings that made a dataset as overrides of a configuration."""
    names = ("embedding", "layer", "pooling", "pooling_params", "bands", "precision")
    said = [f"model.{name}={json.dumps(made.settings[name])}" for name in names]
    flags = () if made.traits else ("scoring.flag_rate=0",)
    return (*said, f"data.channel={made.settings['channel']}", *flags)


class FitWorker:
    """Fits machines; no encoder is loaded.

    Args:
        settings: What it needs.
    """

    def __init__(self, settings: FleetFitSettings) -> None:
        self._settings = settings
        self._dataset = VectorDataset(settings.dataset)

    def ready(self) -> None:
        """Do nothing: this worker needs no preparation."""

    def do(self, task: FitTask) -> FitDone:
        """Fit a machine and write its bank; one that is there and of the same embeddings is left as it is.

        Raises:
            OutputError: The bank cannot be written.
        """
        settings, wanted = self._settings, self._inputs(task)
        if (known := self._known(task.machine)) and known["of"] == wanted:
            return FitDone(known["rows"], known["recordings"], fresh=False)
        made = settings.made
        entries = [entry for day in task.days for entry in self._dataset.entries(made, task.machine, day)]
        listener = replay(made.provenance, [entry.heard for entry in entries])
        root = f"{task.machine}/" if all(e.recording.startswith(f"{task.machine}/") for e in entries) else ""
        recordings = sorted((entry.heard.path, entry.recording.removeprefix(root)) for entry in entries)
        roots = [f"{made.source}{root}".rstrip("/")]
        window = made.provenance.window
        assert window is not None
        asked = FitSettings(task.machine, window.seconds, window.hop, settings.tagging, settings.rate)
        try:
            machine, harvest = fit_heard(settings.config, listener, recordings, roots, asked)
        except (BankError, InputError) as error:
            return FitDone(error=str(error))
        return self._written(task.machine, machine, harvest, wanted)

    def _written(self, name: str, machine: Machine, harvest: Harvest, wanted: str) -> FitDone:
        banks, count = self._settings.banks, len(harvest.heard)
        if banks.remote:
            with tempfile.TemporaryDirectory() as folder:
                archive.put(Path(folder) / name, machine.bank, "fit", recordings=count)
                banks.write(f"{name}/{BANK}", archive.bank_file(Path(folder) / name).read_bytes())
        else:
            archive.put(Path(banks.uri) / name, machine.bank, "fit", recordings=count)
        record = {"of": wanted, "rows": len(machine.bank), "recordings": count, "bank": self._version(name)}
        banks.write(f"{name}/{RECORD}", json.dumps(record).encode())
        done = FitDone(len(machine.bank), count)
        for item in harvest.skipped:
            done.skipped.add(self._settings.made.source + item.name, item.reason)
        return done

    def _inputs(self, task: FitTask) -> str:
        """Return the hash of everything that a bank is made of."""
        settings = self._settings
        shards = [file.name for day in task.days for file in self._dataset.shards(settings.made.key, task.machine, day)]
        facts = [shards, repr(settings.config.scoring), settings.config.model.k, repr(settings.tagging), settings.rate]
        return hashlib.sha256(json.dumps([*facts, settings.made.settings]).encode()).hexdigest()

    def _known(self, name: str) -> dict[str, Any] | None:
        """Return the record of a bank that nobody has changed since."""
        try:
            record = json.loads(self._settings.banks.read(f"{name}/{RECORD}"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and record.get("bank") == self._version(name) else None

    def _version(self, name: str) -> str:
        stamp = self._settings.banks.stamp(f"{name}/{BANK}")
        return stamp.version if stamp else ""
