"""Encoders by name or file. A kind of encoder is one line of `LOADERS`, imported on first use."""

import difflib
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from echobank.errors import ConfigError, WeightsError
from echobank.models.encoder import Encoder
from echobank.models.encoders.joined import JOINT, JoinedEncoder
from echobank.models.logmel import KALDI_128, SAMPLE_RATE
from echobank.models.torch_extra import require_torch
from echobank.models.weights.cards import CARDS, Card
from echobank.progress import Progress, silent

# kind -> "module:function", called as load(card or None, file or None, device, precision, compile) -> Encoder
LOADERS: dict[str, str | Callable[..., Encoder]] = {
    "beats": "echobank.models.beats.beats_encoder:load",
    "level": "echobank.models.encoders.level:load",
    "logmel_stats": "echobank.models.encoders.logmel_stats:load",
    "onnx": "echobank.models.encoders.onnx_encoder:load",
    "soundnet": "echobank.models.weights.soundnet_weights:load",
    "spectrum": "echobank.models.encoders.spectrum:load",
}
# kind -> "module:function" where weights are not a plain download, called as obtain(card, cache, progress) -> Path
SOURCES = {"soundnet": "echobank.models.weights.soundnet_weights:obtain"}
DOWNLOAD = "echobank.models.weights.fetch:fetch"
_AT_SOURCE = ("level",)  # kinds
PRECISIONS = ("fp32", "bf16", "auto")

__all__ = [
    "CARDS",
    "LOADERS",
    "Card",
    "find_card",
    "front_end_of",
    "load_encoder",
    "needs_torch",
    "register_encoder",
    "source_is_heard",
]


def register_encoder(card: Card, load: Callable[..., Encoder]) -> None:
    """Make an encoder of your own known by the name of its card, to `model.embedding` and to banks.

    Args:
        card: What is known about it. Its `kind` is a word of its own; without `file` it has no weights to fetch.
        load: Called as load(card, path, device, precision, compile); path is None without weights.

    Raises:
        ConfigError: The name or kind is one that echobank uses itself.
    """
    if isinstance(LOADERS.get(card.kind), str) or (card.name in CARDS and CARDS[card.name].kind != card.kind):
        raise ConfigError("an encoder needs a name and a kind of its own", value=f"{card.name}, {card.kind}")
    CARDS[card.name], LOADERS[card.kind] = card, load


def find_card(name: str) -> Card:
    """Return the card of a name or alias; case and separators do not matter.

    Raises:
        WeightsError: There is none; the nearest name is given.
    """
    known = {_plain(alias): card for card in CARDS.values() for alias in (card.name, *card.aliases)}
    wanted = _plain(name)
    if wanted in known:
        return known[wanted]
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.6)
    hint = f"did you mean {_spelling(near[0])}?" if near else f"known are {', '.join(CARDS)}, or give a weights file"
    raise WeightsError("unknown encoder", value=name, hint=hint)


def load_encoder(
    name_or_path: str | Path,
    device: str = "cpu",
    *,
    precision: str = "fp32",
    compile: bool = False,
    weights: str | Path | None = None,
    cache: str | Path | None = None,
    progress: Progress = silent,
    adapter: str | Path | None = None,
) -> Encoder:
    """Return an encoder, its weights loaded strictly.

    Args:
        name_or_path: A card's name (`beats_base`), a checkpoint file, or `<kind>:<file>` such as `onnx:model.onnx`;
            several joined by "+" hear side by side (`models.joined`).
        device: "cpu", "cuda", "cuda:1", or "auto" for a GPU where there is one.
        precision: "fp32", "bf16" (matrix products only), or "auto": bf16 where it is faster here than fp32.
        compile: Whether torch compiles the model at first use, where that gains anything: on a GPU.
        weights: Weights file for a card, instead of the cached or downloaded one.
        cache: Folder of downloaded weights; None is the user's cache folder.
        progress: Shows how far a download is.
        adapter: Low-rank updates that are added to the weights (`models.adapter`). Where `name_or_path` is one
            itself, it finds its base by its card unless `weights` gives it.

    Raises:
        WeightsError: Unknown name, no such file, a wrong file, or one that can neither be found nor fetched; an
            adapter of other weights, or for an encoder that takes none.
        ConfigError: Unknown precision or device, or an encoder that needs torch where that is not installed.
    """
    if precision not in PRECISIONS:
        raise ConfigError("unknown precision", value=precision, hint=f"allowed: {', '.join(PRECISIONS)}")
    if parts := joined_names(name_or_path):
        if weights is not None or adapter is not None:
            raise WeightsError("weights of a joined encoder are given in its name", value=str(name_or_path))
        return JoinedEncoder(
            [
                load_encoder(part, device, precision=precision, compile=compile, cache=cache, progress=progress)
                for part in parts
            ]
        )
    if needs_torch(name_or_path):
        require_torch(str(name_or_path))
        if adapter is None and Path(name_or_path).is_file():
            from echobank.models.beats.adapter import is_adapter, load_adapter

            if is_adapter(name_or_path):
                adapter = name_or_path
                name_or_path = weights or load_adapter(adapter).card.base
    kind, card, path = find_weights(name_or_path, weights, cache, progress)
    if adapter is not None and kind != "beats":
        raise WeightsError("only encoders of the BEATs architecture take an adapter", value=str(name_or_path))
    options = {} if adapter is None else {"adapter": Path(adapter)}
    loader = LOADERS[kind]
    load = _imported(loader) if isinstance(loader, str) else loader
    encoder: Encoder = load(card, path, device, precision, compile, **options)
    return encoder


def find_weights(
    name_or_path: str | Path,
    weights: str | Path | None = None,
    cache: str | Path | None = None,
    progress: Progress = silent,
) -> tuple[str, Card | None, Path | None]:
    """Return kind, card and weights file of an encoder, the file fetched where need be; arguments as `load_encoder`.

    Raises:
        WeightsError: Unknown name, or a file that can neither be found nor fetched.
    """
    kind, card, path = _resolve(name_or_path)
    if weights is not None:
        path = Path(weights)
    elif card is not None and card.file:
        obtain = _imported(SOURCES.get(kind, DOWNLOAD))
        path = obtain(card, cache, progress)
    return kind, card, path


def front_end_of(name_or_path: str | Path) -> tuple[int, str]:
    """Return sample rate in Hz and front end of an encoder without loading its weights.

    Raises:
        WeightsError: Unknown name.
    """
    if parts := joined_names(name_or_path):
        return max(front_end_of(part)[0] for part in parts), ""
    kind, card, path = _resolve(name_or_path)
    if kind == "onnx" and path is not None:
        heard: tuple[int, str] = _imported("echobank.models.encoders.onnx_encoder:hears")(path)
        return heard
    return (card.sample_rate, card.front_end) if card else (SAMPLE_RATE, KALDI_128)


def source_is_heard(name_or_path: str | Path) -> bool:
    """Return whether an encoder, or a part of it, hears recordings at their own rate; loads no weights.

    Raises:
        WeightsError: Unknown name.
    """
    return any(_resolve(part)[0] in _AT_SOURCE for part in (joined_names(name_or_path) or (name_or_path,)))


def needs_torch(name_or_path: str | Path) -> bool:
    """Return whether torch runs an encoder, or a part of a joined one.

    Raises:
        WeightsError: Unknown name.
    """
    if parts := joined_names(name_or_path):
        return any(map(needs_torch, parts))
    return _resolve(name_or_path)[0] == "beats"


def joined_names(name_or_path: str | Path) -> list[str]:
    """Return the parts of `a+b`, none for a single encoder; a "+" in the name of a file that is there joins nothing."""
    text = str(name_or_path)
    file = text.partition(":")[2] if text.partition(":")[0] in LOADERS else text
    return [] if JOINT not in text or Path(file).is_file() else text.split(JOINT)


def _imported(place: str) -> Any:
    """Return the function that "module:function" names."""
    module, _, function = place.partition(":")
    return getattr(import_module(module), function)


def _resolve(name_or_path: str | Path) -> tuple[str, Card | None, Path | None]:
    """Return the kind, and the card or the file, of what the user asked for."""
    text = str(name_or_path)
    kind, colon, file = text.partition(":")
    if colon and kind in LOADERS:
        return kind, None, Path(file)
    path = Path(text)
    if isinstance(name_or_path, Path) or path.is_file() or path.parent != Path():
        return path.suffix[1:] if path.suffix[1:] in LOADERS else "beats", None, path
    card = find_card(text)
    return card.kind, card, None


def _plain(name: str) -> str:
    plain = "".join(filter(str.isalnum, name.casefold()))
    return plain.removesuffix("pt") if name.casefold().endswith(".pt") else plain


def _spelling(plain: str) -> str:
    names: Iterable[str] = (alias for card in CARDS.values() for alias in (*card.aliases, card.name))
    return next(name for name in names if _plain(name) == plain)
