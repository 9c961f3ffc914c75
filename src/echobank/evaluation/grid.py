"""The cells of a study: combinations of pooling, bands, back-end, metric and k, written as one line of text."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import product
from typing import Any

import yaml

from echobank.config import Config
from echobank.errors import ConfigError

AXES = ("pooling", "bands", "backend", "metric", "k")
_AXIS = re.compile(r"(\w+)=(.*)", re.DOTALL)
_COLON = re.compile(r":(?![^(]*\))")  # not within brackets


@dataclass(frozen=True)
class Choice:
    """A pooling or a back-end with its parameters."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return ":".join([self.name, *(f"{key}={_bracketed(value)}" for key, value in self.params.items())])


@dataclass(frozen=True)
class Cell:
    """One setting of a study."""

    pooling: Choice
    bands: bool
    backend: Choice
    metric: str
    k: int

    @property
    def values(self) -> tuple[str, ...]:
        """The setting as text, in the order of `AXES`."""
        return str(self.pooling), str(self.bands).lower(), str(self.backend), self.metric, str(self.k)


def configured(config: Config) -> Cell:
    """Return the setting of a configuration."""
    model, scoring = config.model, config.scoring
    return Cell(
        Choice(model.pooling, model.pooling_params),
        model.bands,
        Choice(scoring.backend, scoring.params),
        scoring.metric,
        model.k,
    )


def parse_grid(texts: Sequence[str], config: Config) -> tuple[Cell, ...]:
    """Return every combination of the values asked for, each once; axes not named keep the configuration's value.

    Args:
        texts: `axis=value,value`, several axes in one text or in many, such as "pooling=mean,gem:p=3,k=1,3".
            A value of `pooling` or `backend` takes parameters after colons; a parameter that holds colons itself
            stands in brackets, as in "backend=min_fusion:members=(knn+ldn:K=16)".
        config: Gives the axes that are not named.

    Raises:
        ConfigError: An unknown axis, an axis named twice, or a value of the wrong kind.
    """
    own = configured(config)
    axes: dict[str, list[Any]] = {axis: [getattr(own, axis)] for axis in AXES}
    for axis, words in _split(texts).items():
        axes[axis] = [_value(axis, word) for word in words]
    cells = [Cell(*values) for values in product(*(axes[axis] for axis in AXES))]
    return tuple({cell.values: cell for cell in cells}.values())


def _split(texts: Sequence[str]) -> dict[str, list[str]]:
    axes: dict[str, list[str]] = {}
    axis = ""
    for text in texts:
        for word in text.split(","):
            match = _AXIS.fullmatch(word.strip())
            value = match[2] if match else word.strip()
            if match:
                axis = match[1]
                if axis not in AXES:
                    near = get_close_matches(axis, AXES, n=1)
                    hint = f"did you mean {near[0]}?" if near else f"the axes are {', '.join(AXES)}"
                    raise ConfigError("no such axis of a study", value=axis, where="--grid", hint=hint)
                if axis in axes:
                    raise ConfigError("an axis comes twice", value=axis, where="--grid")
                axes[axis] = []
            if not axis or not value:
                hint = "write --grid pooling=mean,gem k=1,3"
                raise ConfigError("not of the form axis=value,value", value=text, where="--grid", hint=hint)
            axes[axis].append(value)
    return axes


def _value(axis: str, text: str) -> Any:
    if axis in ("pooling", "backend"):
        name, *pairs = _COLON.split(text)
        params = dict(_pair(pair, text) for pair in pairs)
        return Choice(name, params)
    value: Any = yaml.safe_load(text)
    kind: Any = {"bands": bool, "k": int, "metric": str}[axis]
    if type(value) is not kind or (axis == "k" and value < 1):
        allowed = {"bands": "true, false", "k": "1 or more", "metric": "cosine, euclidean"}[axis]
        raise ConfigError(f"impossible value of {axis}", value=text, where="--grid", hint=f"allowed: {allowed}")
    return value


def _pair(text: str, whole: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ConfigError("a parameter is not of the form key=value", value=whole, where="--grid")
    return key, value[1:-1] if value[:1] == "(" and value[-1:] == ")" else yaml.safe_load(value)


def _bracketed(value: object) -> str:
    return f"({value})" if ":" in str(value) else str(value)
