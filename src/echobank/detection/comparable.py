"""Whether a metric suits an encoder: the direction of a level says nothing, its cosine distances are 0."""

from echobank.detection.backends import parse_backend
from echobank.detection.backends.part import unit_of
from echobank.detection.header import Scoring
from echobank.errors import BankError
from echobank.models.encoders.joined import JOINT


def require_comparable(encoder: str, scoring: Scoring) -> None:
    """Refuse the cosine distance for an encoder of which every part has a unit, such as `level`.

    A back-end that looks at one part (`knn@level`) takes the Euclidean distance by itself.

    Args:
        encoder: Name of the encoder, or of several that are joined.
        scoring: How its embeddings are to be scored.

    Raises:
        BankError: They cannot be compared like this.
    """
    parts = encoder.split(JOINT)
    units = [unit_of(part) for part in parts]
    if not all(units) or not any(metric == "cosine" for metric in _metrics(scoring)):
        return
    raise BankError(
        f"the values of {encoder} are in {units[0]}: their cosine distance says nothing",
        value=f"scoring.metric={scoring.metric}",
        hint="--set scoring.metric=euclidean",
    )


def _metrics(scoring: Scoring) -> list[object]:
    """Return the metric of each back-end that looks at the whole embedding."""
    if "@" in scoring.backend:
        return []
    members = scoring.params.get("members")
    if not isinstance(members, str):
        return [scoring.metric]
    named = [parse_backend(text) for text in members.split(JOINT)]
    return [params.get("metric", scoring.metric) for name, params in named if "@" not in name]
