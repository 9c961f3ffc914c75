"""The versions that a result depends on, read from the metadata of packages and not by importing them."""

import platform
from importlib.metadata import PackageNotFoundError, version

from echobank.version import __version__

_LIBRARIES = ("numpy", "scipy", "torch", "soundfile", "soxr", "safetensors", "scikit-learn")


def library_versions() -> dict[str, str]:
    """Return the versions that a result depends on; "absent" for what is not installed."""
    found = {"echobank": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
