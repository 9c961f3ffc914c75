"""Fit: from a folder of healthy recordings to the bank of one machine."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from echobank.config import load_config
from echobank.data.folder import LeftOut
from echobank.detection.bank import Bank, build_bank
from echobank.detection.comparable import require_comparable
from echobank.detection.header import BankHeader, OwnMachine, Scoring
from echobank.detection.without_level import without_level
from echobank.errors import BankError, ConfigError, InputError
from echobank.library_versions import library_versions
from echobank.machines.gain import LEVEL
from echobank.machines.groups import BLOCK_WINDOWS, in_groups
from echobank.machines.harvest import Harvest, gather
from echobank.machines.listener import Listener
from echobank.machines.machine import Machine, assemble, calibrated, window_of
from echobank.machines.neighbourhood import BACKEND, K, is_default, within_means
from echobank.machines.tags import Tagging, find_recordings
from echobank.machines.traits import kept
from echobank.models.default import settle_encoder
from echobank.models.pooling import Pooling
from echobank.models.registry import load_encoder
from echobank.progress import Progress, silent
from echobank.settings import Config, DecisionConfig

# where own machines differ from the challenge; the back-end is what benchmarks/small_default.py chose
MACHINE_DEFAULTS = ("model.embedding=auto", "model.k=1", f"scoring.backend={BACKEND}", f"scoring.params={{K: {K}}}")


_OLD_DECISION = DecisionConfig("gamma", 0.1, "clip")  # the default of older versions: files may spell it out


@dataclass(frozen=True)
class FitSettings:
    """What a fit needs besides the configuration.

    Attributes:
        machine: The user's name of the machine.
        seconds: Length of a window.
        hop: Distance between the beginnings of windows, seconds.
        tagging: Where operating states come from.
        rate: False-alarm rate; None takes 5 %, or the smallest that is supported.
    """

    machine: str
    seconds: float = 10.0
    hop: float = 5.0
    tagging: Tagging = field(default_factory=Tagging)
    rate: float | None = None


def machine_config(path: Path | str | None, overrides: Sequence[str] = ()) -> Config:
    """Return the settings for an own machine: its defaults, then a file, then overrides.

    Raises:
        ConfigError: A key or value is wrong, or a setting does not apply here.
    """
    given = [item.partition("=")[0].strip() for item in overrides]
    other = "scoring.backend" in given  # the default's parameters are not those of another back-end
    defaults = [item for item in MACHINE_DEFAULTS if not (other and item.startswith("scoring."))]
    config = load_config(path, (*(defaults if path is None else ()), *overrides))
    for name in ("decision", "augmentation", "train"):
        if getattr(config, name) not in (getattr(Config(), name), _OLD_DECISION):
            raise ConfigError(f"the settings {name}.* do not apply to own machines", hint="see --far of fit")
    return config


def fit_machine(
    config: Config, paths: Sequence[Path | str], wanted: FitSettings, progress: Progress = silent
) -> tuple[Machine, Harvest]:
    """Hear healthy recordings and return the machine that remembers them, and what was heard.

    Raises:
        InputError: No recordings that can be used, tags that disagree, or a rate that is not supported.
        BankError: Too little healthy sound.
    """
    if not 0 < wanted.hop <= wanted.seconds < float("inf"):
        raise InputError("hop must be above 0 and at most the window", value=f"{wanted.seconds}, {wanted.hop}")
    config, _ = settle_encoder(config, progress)
    left_out = LeftOut()
    recordings = find_recordings(paths, left_out)
    listener = replace(make_listener(config, wanted.seconds, wanted.hop), traits=config.scoring.flag_rate > 0)
    return fit_heard(config, listener, recordings, roots_of(paths), wanted, progress, left_out)


def fit_heard(
    config: Config,
    listener: Listener,
    recordings: Sequence[tuple[Path, str]],
    roots: Sequence[str],
    wanted: FitSettings,
    progress: Progress = silent,
    left_out: LeftOut | None = None,
) -> tuple[Machine, Harvest]:
    """Return the machine that remembers what a listener hears in recordings, and what that was.

    Args:
        config: How it is scored, and the encoder's name.
        listener: Hears the recordings.
        recordings: (path, name) of each, sorted by path.
        roots: Folders that the names are relative to.
        wanted: Name, tags and rate.
        progress: Shows how far it is.
        left_out: As `gather`.

    Raises:
        InputError: As `fit_machine`.
        BankError: As `fit_machine`.
    """
    model, scoring = config.model, config.scoring
    scored = Scoring(scoring.backend, scoring.metric, model.k, dict(scoring.params))
    if not scoring.level:
        scored = without_level(scored, listener.encoder.facts.name)
    require_comparable(listener.encoder.facts.name, scored)
    harvest = gather(recordings, listener, wanted.tagging, wanted.machine, progress, left_out)
    header = BankHeader(
        listener.provenance,
        scored,
        machine=OwnMachine(wanted.machine, model.embedding, wanted.rate, tuple(roots), flag_rate=scoring.flag_rate),
        versions=library_versions(),
    )
    bank, notice = fit_bank(harvest, header)
    return assemble(bank, listener, (notice,) if notice else ()), harvest


def make_listener(config: Config, seconds: float, hop: float) -> Listener:
    """Return the listener that a configuration asks for.

    Raises:
        WeightsError: The encoder's weights are not there.
    """
    model, weights = config.model, config.weights
    encoder = load_encoder(
        model.embedding,
        device=model.device,
        precision=model.precision,
        compile=model.compile,
        weights=weights.path,
        cache=weights.cache,
    )
    pooling = Pooling(model.pooling, model.bands, model.pooling_params)
    return Listener(encoder, pooling, seconds, hop, model.layer, config.data.channel, model.batch_size)


def roots_of(paths: Sequence[Path | str]) -> list[str]:
    """Return the folders that names of recordings are relative to."""
    folders = (path if path.is_dir() else path.parent for path in map(Path, paths))
    return list(dict.fromkeys(str(folder.resolve()) for folder in folders))


def fit_bank(harvest: Harvest, header: BankHeader) -> tuple[Bank, str]:
    """Return the calibrated bank of what was gathered, and notices for the user.

    The default back-end takes fewer neighbours, or gives way, where the bank asks for that (`within_means`).

    Args:
        harvest: Rows.
        header: What made them, of which machine, and how it is scored.

    Raises:
        BankError: Too little healthy sound to be scored against itself.
    """
    seconds = window_of(header).seconds
    rows = in_groups(harvest.rows, seconds)
    if len({row.group for row in rows}) < 2:
        if harvest.duplicates:
            count = len(harvest.duplicates) + len(harvest.heard)
            raise BankError(
                f"too little healthy sound: the {count} recordings are {len(harvest.heard)}, the others are copies",
                value=f"{harvest.duplicates[0][0]} sounds exactly like {harvest.duplicates[0][1]}",
                hint="give another recording",
            )
        raise BankError(
            "too little healthy sound: one recording or block cannot be compared with another",
            value=f"{len(rows)} windows",
            hint=f"give two recordings, or one of {2 * BLOCK_WINDOWS * seconds:g} s or more",
        )
    keep = [i for i, row in enumerate(rows) if row.group]
    bank = build_bank(
        harvest.vectors[keep],
        [rows[i] for i in keep],
        header,
        {"profile": harvest.profiles[keep], LEVEL: harvest.levels[keep], **kept(harvest.traits[keep])},
    )
    notice = ""
    if is_default(header.scoring):
        bank, notice = within_means(bank)
    return calibrated(bank), notice
