"""What made a bank's embeddings, compared with what would make new ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echobank.errors import BankError


def difference(bank: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Return the first difference between two makers of embeddings in words, empty when there is none.

    The encoder's name comes first: whatever else differs follows from it.
    """
    theirs, ours = _flat(bank), _flat(here)
    for key in sorted(theirs.keys() | ours.keys(), key=lambda key: (key != "encoder.name", key)):
        if theirs.get(key) != ours.get(key):
            return f"{key} is {theirs.get(key)!r} in the bank and {ours.get(key)!r} here"
    return ""


def require_same_maker(bank: Mapping[str, Any], here: Mapping[str, Any], where: Path | str) -> None:
    """Refuse a bank whose embeddings cannot be compared with those of `here`.

    Raises:
        BankError: Encoder, weights, precision, layer, pooling or resampler differ; both are named.
    """
    if found := difference(bank, here):
        raise BankError(f"the bank was made by something else: {found}", where=where, hint="use those, or fit again")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
