"""Read, check and write the settings of a run (`echobank.settings`).

A file may give any part of the keys; `--set key=value` overrides. An unknown key, a wrong type or an
impossible value is a `ConfigError` that names the nearest key or the allowed values.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from echobank.errors import ConfigError
from echobank.settings import Config

__all__ = ["Config", "find_config", "load_config", "packaged_configs", "to_dict", "to_yaml", "value_of"]

PACKAGED = Path(__file__).parent / "configs"


def load_config(path: Path | str | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, apply `key=value` overrides, and check every value.

    Args:
        path: A YAML file, or the name of a packaged one (`find_config`); None takes the defaults.
        overrides: `section.key=value`, the value written as in YAML. Another back-end than the file's goes without the
            parameters of the file.

    Raises:
        ConfigError: The file cannot be read, or a key or value is wrong.
    """
    tree: dict[str, Any] = {} if path is None else _read(find_config(path))
    _forget_params(tree, overrides)
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals:
            raise ConfigError("an override is not of the form key=value", value=item, hint="write --set model.k=1")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError("the value is not YAML", value=text, where=f"--set {key}") from error
        _put(tree, key.strip(), value)
    config: Config = _build(Config, tree, "", path or "--set")
    _check(config)
    return config


def _forget_params(tree: dict[str, Any], overrides: Sequence[str]) -> None:
    """Take the back-end's parameters out of a file's settings where overrides name another back-end, and none."""
    given = {key.strip(): value.strip() for key, _, value in (item.partition("=") for item in overrides)}
    scoring, backend = tree.get("scoring"), given.get("scoring.backend")
    if backend is None or not isinstance(scoring, dict) or backend == scoring.get("backend"):
        return
    if not any(key.startswith("scoring.params") for key in given):
        scoring.pop("params", None)


def find_config(name: Path | str) -> Path:
    """Return a settings file: the file of that name, or the packaged one that it names.

    Packaged files are named by a word, "default", or by their place in the repository, "configs/default.yaml", so
    that both work from any folder and without a checkout.
    """
    path = Path(name)
    if path.is_file() or path.parent not in (Path(), Path("configs")):
        return path
    packaged = PACKAGED / path.with_suffix(".yaml").name
    named = path.suffix == ".yaml" if path.parent == Path("configs") else path.suffix == ""
    return packaged if named and packaged.exists() else path


def packaged_configs() -> list[str]:
    """Return the words that `find_config` knows."""
    return sorted(path.stem for path in PACKAGED.glob("*.yaml"))


def to_dict(config: Config) -> dict[str, Any]:
    """Return the settings as plain lists, dicts and scalars, ready for YAML or JSON."""
    plain: dict[str, Any] = _plain(dataclasses.asdict(config))
    return plain


def to_yaml(config: Config) -> str:
    """Return the resolved settings as YAML that `load_config` reads back to an equal `Config`."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(
            f"cannot read the configuration ({reason})",
            where=path,
            hint=f"give a YAML file, or one of {', '.join(packaged_configs())}",
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"the configuration is not YAML ({error})", where=path) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError("the configuration is not a mapping of sections", where=path)
    return tree


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        below = tree.setdefault(parent, {})
        if not isinstance(below, dict):
            raise ConfigError("unknown key", value=key, where="--set")
        tree = below
    tree[last] = value


def _build(cls: Any, tree: Any, prefix: str, where: Path | str) -> Any:
    if tree is None:
        tree = {}
    if not isinstance(tree, Mapping):
        raise ConfigError(f"'{prefix.rstrip('.')}' is a section of keys", value=tree, where=where)
    hints = get_type_hints(cls)
    values = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if key not in hints:
            raise ConfigError("unknown key", value=name, where=where, hint=_nearest(name, prefix, hints))
        kind = hints[key]
        if dataclasses.is_dataclass(kind):
            values[key] = _build(kind, value, f"{name}.", where)
        else:
            values[key] = _convert(value, kind, name, where)
    return cls(**values)


def _nearest(name: str, prefix: str, hints: Mapping[str, Any]) -> str:
    every = _all_keys(Config, "")
    near = difflib.get_close_matches(name, every, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"the keys here are {', '.join(prefix + key for key in hints)}"


def _all_keys(cls: Any, prefix: str) -> list[str]:
    keys: list[str] = []
    for key, kind in get_type_hints(cls).items():
        if dataclasses.is_dataclass(kind):
            keys += [f"{prefix}{key}", *_all_keys(kind, f"{prefix}{key}.")]
        else:
            keys.append(f"{prefix}{key}")
    return keys


def _convert(value: Any, kind: Any, name: str, where: Path | str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value in args:
            return value
        raise ConfigError(
            f"impossible value of {name}",
            value=value,
            where=where,
            hint=f"allowed: {', '.join(map(str, args))}",
        )
    if origin in (types.UnionType, typing.Union):
        return _convert_either(value, args, name, where)
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_convert(item, args[0], name, where) for item in items)
    if origin is dict:
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {key: _convert_item(item, args[1], f"{name}.{key}", where) for key, item in value.items()}
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    expected = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(kind, "a mapping")
    raise ConfigError(f"{name} must be {expected}", value=value, where=where)


def _convert_either(value: Any, kinds: Sequence[Any], name: str, where: Path | str) -> Any:
    """Return a value of one of several kinds: null, a word, or something else."""
    if value is None and type(None) in kinds:
        return None
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    if value in words:
        return value
    kind = next(kind for kind in kinds if kind is not type(None))
    try:
        return _convert(value, kind, name, where)
    except ConfigError as error:
        if not words:
            raise
        raise ConfigError(f"{error.what}, or {', '.join(words)}", value=value, where=where) from error


def _convert_item(value: Any, kind: Any, name: str, where: Path | str) -> Any:
    if get_origin(kind) is None:
        return _convert(value, kind, name, where)
    if isinstance(value, get_args(kind)):
        return value
    raise ConfigError(f"{name} must be a number, true or false, or text", value=value, where=where)


def _check(config: Config) -> None:
    channel = config.data.channel
    for name, good, allowed in (
        ("model.k", config.model.k >= 1, "1 or more"),
        ("model.batch_size", config.model.batch_size >= 0, "1 or more, or 0 for what suits the device"),
        (
            "model.layer",
            config.model.layer is None or config.model.layer >= 1,
            "1 or more, or null for the last",
        ),
        ("data.channel", not isinstance(channel, int) or channel >= 0, "0 or more, or w1"),
        ("data.workers", config.data.workers >= 0, "0 (one per core) or more"),
        (
            "decision.false_alarm_rate",
            0 < config.decision.false_alarm_rate < 1,
            "between 0 and 1, both excluded",
        ),
        (
            "augmentation.snr",
            all(abs(x) <= 100 for x in config.augmentation.snr),
            "decibels from -100 to 100",
        ),
        (
            "augmentation.pitch_shift",
            all(0 < abs(x) <= 24 for x in config.augmentation.pitch_shift),
            "semitones from -24 to 24, not 0",
        ),
        ("finetune.rank", config.finetune.rank >= 1, "1 or more"),
        ("finetune.subcentres", config.finetune.subcentres >= 1, "1 or more"),
        ("finetune.margin", 0 <= config.finetune.margin <= 1, "0 to 1 radian"),
        ("finetune.epochs", config.finetune.epochs >= 1, "1 or more"),
        ("finetune.steps", config.finetune.steps is None or config.finetune.steps >= 1, "1 or more, or null"),
        ("finetune.batch_size", config.finetune.batch_size >= 2, "2 or more"),
        ("finetune.learning_rate", config.finetune.learning_rate > 0, "above 0"),
        ("finetune.warmup", 0 <= config.finetune.warmup < 1, "0 to 1, 1 excluded"),
        ("finetune.oversample", config.finetune.oversample > 0, "above 0"),
        ("finetune.source_clusters", config.finetune.source_clusters >= 1, "1 or more"),
        ("finetune.target_clusters", config.finetune.target_clusters >= 1, "1 or more"),
        ("finetune.seconds", config.finetune.seconds >= 0.2, "0.2 seconds or more"),
        (
            "finetune.masks",
            len(config.finetune.masks) == 2 and all(0 <= x <= 0.5 for x in config.finetune.masks),
            "two shares from 0 to 0.5",
        ),
        ("finetune.validation", 0 < config.finetune.validation <= 0.5, "above 0, up to 0.5"),
        ("finetune.patience", config.finetune.patience >= 0, "0 or more"),
        ("finetune.checkpoint_every", config.finetune.checkpoint_every >= 1, "1 or more"),
        *(
            (f"finetune.{name}", 0 <= getattr(config.finetune, name) <= 1, "a probability")
            for name in ("mixup", "noise", "pitch")
        ),
        ("seed", config.seed >= 0, "0 or more"),
    ):
        if not good:
            raise ConfigError(f"impossible value of {name}", value=value_of(config, name), hint=f"allowed: {allowed}")


def value_of(config: Config, key: str) -> Any:
    """Return the value of a dotted key, such as `model.k`."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value
