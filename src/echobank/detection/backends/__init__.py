"""Ways of scoring: one file and one line of `BACKENDS` each."""

import dataclasses
import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from echobank.detection.backends.base import Backend
from echobank.detection.backends.part import Part
from echobank.detection.search import METRICS
from echobank.errors import ConfigError

# name: module:class, or a class of the user's own
BACKENDS: dict[str, str | type] = {
    "knn": "knn:Knn",
    "kmeans": "kmeans:Kmeans",
    "coreset": "coreset:Coreset",
    "ldn": "ldn:Ldn",
    "varmin": "varmin:VarMin",
    "domain_ld": "domain_ld:DomainLd",
    "domain_z": "domain_z:DomainZ",
    "domain_conformal": "domain_conformal:DomainConformal",
    "mahalanobis": "mahalanobis:Mahalanobis",
    "gmm": "gmm:Gmm",
    "pca": "pca:Pca",
    "min_fusion": "fusion:MinFusion",
    "mean_fusion": "fusion:MeanFusion",
    "max_fusion": "fusion:MaxFusion",
    "enlarged": "enlarged:Enlarged",
}


def register_backend(name: str, backend: type) -> None:
    """Make a back-end of your own known by name, to `scoring.backend`, to banks and to `echobank study`.

    Args:
        name: Its name; a name that echobank uses itself is refused.
        backend: A dataclass with the methods of `backends.base.Backend`; its fields `k` and `metric` are set from
            `model.k` and `scoring.metric`, all others are its parameters.

    Raises:
        ConfigError: The name is taken or is no plain word, or the class lacks a field or method.
    """
    if isinstance(BACKENDS.get(name), str) or not name.isidentifier():
        raise ConfigError("a back-end needs a name of its own, one word", value=name)
    fields = {field.name for field in dataclasses.fields(backend)} if dataclasses.is_dataclass(backend) else set()
    if missing := {"k", "metric"} - fields:
        raise ConfigError(f"a back-end is a dataclass with {' and '.join(sorted(missing))}", value=backend.__name__)
    wanted = ("fit", "score", "self_scores", "has_rows", "nearest", "ranked", "others")
    if missing := {method for method in wanted if not hasattr(backend, method)}:
        hint = "derive from echobank.detection.backends.base.RowsOfBank, which has most of them"
        raise ConfigError(f"a back-end lacks {', '.join(sorted(missing))}", value=backend.__name__, hint=hint)
    BACKENDS[name] = backend


def make_backend(name: str, *, k: int, metric: str, params: Mapping[str, Any]) -> Backend:
    """Return an unfitted back-end.

    Args:
        name: One of `BACKENDS`; with `@encoder` behind it, it looks at that part of a joined embedding.
        k: Neighbours whose distances are averaged.
        metric: "cosine" or "euclidean".
        params: Values of the other fields of the back-end's class.

    Raises:
        ConfigError: Unknown name, metric or parameter, or an impossible value.
    """
    name, joint, part = name.partition("@")
    if joint:
        return Part(make_backend(name, k=k, metric=metric, params=params), part)
    if name not in BACKENDS:
        raise ConfigError("unknown back-end", value=name, hint=_nearest(name, BACKENDS))
    if metric not in METRICS:
        raise ConfigError("unknown metric", value=metric, hint=_nearest(metric, METRICS))
    if k < 1:
        raise ConfigError("k must be 1 or more", value=k)
    cls = _class_of(BACKENDS[name])
    kinds = {field.name: get_type_hints(cls)[field.name] for field in dataclasses.fields(cls) if field.init}
    allowed = {key: kind for key, kind in kinds.items() if key not in ("k", "metric")}
    for key, value in params.items():
        if key not in allowed:
            raise ConfigError(f"back-end {name} has no such parameter", value=key, hint=_nearest(key, allowed))
        expected = _expected(value, allowed[key])
        if expected:
            raise ConfigError(f"impossible value of {key} of back-end {name}", value=value, hint=f"allowed: {expected}")
    backend: Backend = cls(k=k, metric=metric, **params)
    return backend


def parse_backend(text: str) -> tuple[str, dict[str, Any]]:
    """Return name and parameters of `name:key=value:key=value`, values as in YAML.

    Raises:
        ConfigError: A parameter is not of that form.
    """
    import yaml

    name, *pairs = text.split(":")
    params: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise ConfigError("a parameter is not of the form key=value", value=text)
        params[key] = yaml.safe_load(value)
    return name, params


def _class_of(place: str | type) -> Any:
    if isinstance(place, type):
        return place
    module, attribute = place.split(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def _expected(value: object, kind: Any) -> str:
    """Return what a parameter may be, empty when the value is that."""
    if get_origin(kind) is Literal:
        return "" if value in get_args(kind) else ", ".join(get_args(kind))
    if kind is int:
        return "" if type(value) is int and (value >= 0) else "a whole number, 0 or more"
    if kind is float:
        return "" if type(value) in (int, float) else "a number"
    names = {bool: "true, false", str: "text"}
    return "" if type(value) is kind else names[kind]


def _nearest(name: str, allowed: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(allowed), n=1)
    return f"did you mean {near[0]}?" if near else f"allowed: {', '.join(allowed) or 'none'}"
