"""Provenance: everything that an embedding depends on besides the sound.

Two embeddings may be compared only when their identity fields agree; the same fields are the key of a cache. What a
bank of an older kind never recorded is accepted, with a notice. Library versions and times are recorded elsewhere in a
bank's header and never compared, so that an upgrade refuses no bank.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from echobank.data.audio import RESAMPLER
from echobank.data.channels import Channel
from echobank.errors import BankError
from echobank.models.encoder import EncoderFacts
from echobank.models.encoders.joined import JoinedFacts
from echobank.models.pooling import Pooling

_EMPTY: Mapping[Any, Any] = {
    str: "",
    int: 0,
    float: 0.0,
}  # stands in for facts of an encoder that an old bank never recorded


@dataclass(frozen=True)
class WindowGrid:
    """How recordings are cut into windows.

    Attributes:
        seconds: Length of a window.
        hop: Distance between the beginnings of windows, seconds.
    """

    seconds: float
    hop: float


@dataclass(frozen=True)
class Provenance:
    """What made an embedding. Every field is identity; `unrecorded` says which of them are not known.

    Attributes:
        encoder: The encoder, with the hash of its weights and its precision.
        pooling: Tokens to embedding.
        layer: Layer of the encoder, from 1; None is the last.
        resampler: What brings recordings to the encoder's rate.
        window: How recordings are cut; None where each is one clip.
        channel: Which channel, or reduction of channels, is used.
        unrecorded: Dotted names of the fields that the bank does not say.
    """

    encoder: EncoderFacts
    pooling: Pooling
    layer: int | None = None
    resampler: str = RESAMPLER
    window: WindowGrid | None = None
    channel: Channel = field(default_factory=Channel)
    unrecorded: frozenset[str] = frozenset()

    def to_header(self) -> dict[str, Any]:
        """Return plain values as JSON knows them, without what is not known."""
        tree: dict[str, Any] = {
            "encoder": asdict(self.encoder),
            "pooling": asdict(self.pooling),
            "layer": self.layer,
            "resampler": self.resampler,
            "channel": self.channel.identity,
        }
        if self.window:
            tree["window"] = asdict(self.window)
        for name in self.unrecorded:
            branch, _, leaf = name.rpartition(".")
            (tree[branch] if branch else tree).pop(leaf, None)
        plain: dict[str, Any] = json.loads(json.dumps(tree))
        return plain

    @classmethod
    def from_header(cls, plain: Mapping[str, Any]) -> "Provenance":
        """Return the provenance that `to_header` made plain values of, or an older version did.

        Raises:
            ConfigError: An impossible pooling or channel.
            KeyError: There is no encoder or no pooling.
            TypeError: A field has a value of another kind.
        """
        unrecorded = {name for name in ("layer", "resampler", "channel") if name not in plain}
        encoder, missing = _encoder_facts(plain["encoder"])
        unrecorded |= {f"encoder.{name}" for name in missing}
        window = plain.get("window")
        return cls(
            encoder,
            Pooling(**plain["pooling"]),
            layer=plain.get("layer"),
            resampler=str(plain.get("resampler", "")),
            window=WindowGrid(float(window["seconds"]), float(window["hop"])) if window is not None else None,
            channel=Channel.of(plain.get("channel", 0)),
            unrecorded=frozenset(unrecorded),
        )

    @property
    def cache_key(self) -> str:
        """Name of the folder of embeddings made so: 16 hexadecimal digits of the hash of all identity fields.

        Channel 0 is left out, so that the caches of versions that did not know the channel stay in use.
        """
        tree = self.to_header()
        if self.channel == Channel():
            tree.pop("channel", None)
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]


def difference(bank: Provenance, here: Provenance) -> str:
    """Return the first difference between two provenances in words, empty when there is none.

    What the bank does not say is no difference. The encoder's name comes first: whatever else differs follows from it.
    """
    theirs, ours = (_flat(made.to_header()) for made in (bank, here))
    for key in sorted(theirs.keys() | ours.keys(), key=lambda key: (key != "encoder.name", key)):
        if key not in bank.unrecorded and theirs.get(key) != ours.get(key):
            return f"{key} is {theirs.get(key)!r} in the bank and {ours.get(key)!r} here"
    return ""


def require_same(bank: Provenance | None, here: Provenance, where: Path | str) -> tuple[str, ...]:
    """Refuse a bank whose embeddings cannot be compared with those of `here`; return notices for the user.

    Raises:
        BankError: Encoder, weights, precision, layer, pooling, resampler, window or channel differ; both are named. Or
            the bank does not say what made it.
    """
    if bank is None:
        raise BankError("the bank does not say what made it", where=where, hint="fit it again")
    if found := difference(bank, here):
        raise BankError(f"the bank was made by something else: {found}", where=where, hint="use those, or fit again")
    ours = _flat(here.to_header())
    return tuple(
        f"{where}: a bank of an older version, which did not record {name}; taken to be {ours.get(name)!r} as here"
        for name in sorted(bank.unrecorded)
    )


def _encoder_facts(plain: Mapping[str, Any]) -> tuple[EncoderFacts, list[str]]:
    """Return the facts of an encoder, and the names of those that are not there."""
    missing = [item for item in fields(EncoderFacts) if item.name not in plain]
    stand_ins = {item.name: _EMPTY[item.type] for item in missing if item.default is MISSING}
    if "parts" in plain:
        parts = {name: _encoder_facts(part)[0] for name, part in plain["parts"].items()}
        return JoinedFacts(**{**stand_ins, **plain, "parts": parts}), [item.name for item in missing]
    return EncoderFacts(**stand_ins, **plain), [item.name for item in missing]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
