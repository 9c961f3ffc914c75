"""Scoring without level: what is left of a back-end when the parts that hear how loud a clip is are taken out.

The gain of a recording chain may have changed. Then level says nothing, and the embeddings that the bank holds of the
other encoders still do.
"""

from dataclasses import replace
from typing import TypeVar

from echobank.detection.backends import parse_backend
from echobank.detection.backends.fusion import FUSIONS
from echobank.detection.backends.part import unit_of
from echobank.detection.header import Scoring
from echobank.errors import ConfigError
from echobank.models.encoders.joined import JOINT

S = TypeVar("S", bound=Scoring)


def without_level(scoring: S, encoder: str) -> S:
    """Return a scoring whose back-ends hear no level; the same where none did.

    Members of a fusion that look at a level go. A back-end that looks at joined encoders looks at the one that is not a
    level.

    Args:
        scoring: How embeddings become scores.
        encoder: Name of the encoder, or of several that are joined.

    Raises:
        ConfigError: Nothing else is heard, or it is not clear what is left.
    """
    parts = encoder.split(JOINT)
    others = [part for part in parts if not unit_of(part)]
    if len(others) == len(parts):
        return scoring
    if not others:
        raise ConfigError(
            "without level nothing is left to score by", value=encoder, hint="fit with an encoder beside it"
        )
    members = scoring.params.get("members")
    if scoring.backend not in FUSIONS:
        return replace(scoring, backend=_apart(scoring.backend, others))
    if not isinstance(members, str):
        raise ConfigError("members of the fusion look at level and all else at once", value=scoring.backend, hint=_HINT)
    names = [text.partition(":") for text in members.split(JOINT)]
    left = [
        f"{_apart(name, others)}{colon}{params}"
        for name, colon, params in names
        if not unit_of(name.partition("@")[2] or others[0])
    ]
    if not left:
        raise ConfigError("without level nothing is left to score by", value=members, hint=_HINT)
    if len(left) > 1:
        return replace(scoring, params={**scoring.params, "members": JOINT.join(left)})
    name, params = parse_backend(left[0])
    k, metric = params.pop("k", scoring.k), params.pop("metric", scoring.metric)
    return replace(scoring, backend=name, metric=metric, k=k, params=params)


_HINT = "name the part of each: scoring.params.members=ldn@soundnet+knn@level"


def _apart(backend: str, others: list[str]) -> str:
    """Return a back-end that looks at no level."""
    name, joint, part = backend.partition("@")
    if joint and unit_of(part):
        raise ConfigError("without level nothing is left to score by", value=backend, hint=_HINT)
    if joint:
        return backend
    if len(others) > 1:
        raise ConfigError(f"{name} looks at {' and '.join(others)} and at level at once", value=backend, hint=_HINT)
    return f"{name}@{others[0]}"
