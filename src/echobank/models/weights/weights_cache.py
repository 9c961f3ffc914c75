"""Where downloaded weights are kept."""

import os
from pathlib import Path

CACHE_VARIABLE = "ECHOBANK_CACHE"


def cache_folder(cache: Path | str | None = None) -> Path:
    """Return the folder of weights: the one given, else $ECHOBANK_CACHE, else the user's cache folder."""
    import platformdirs

    return Path(cache or os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_path("echobank"))
