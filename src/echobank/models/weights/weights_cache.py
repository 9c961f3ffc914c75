"""Where downloaded weights are kept."""

import os
from pathlib import Path

from echobank.models.weights.cards import Card

CACHE_VARIABLE = "ECHOBANK_CACHE"


def cache_folder(cache: Path | str | None = None) -> Path:
    """Return the folder of weights: the one given, else $ECHOBANK_CACHE, else the user's cache folder."""
    import platformdirs

    return Path(cache or os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_path("echobank"))


def cached_file(card: Card, cache: Path | str | None = None) -> Path:
    """Return where the weights of a card are kept once they were fetched; the card must have some."""
    return cache_folder(cache) / (card.kept or card.file)
