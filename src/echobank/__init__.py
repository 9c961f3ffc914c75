"""First-shot anomalous sound detection: embeddings, a memory bank of healthy sounds, nearest neighbours.

Names are imported on first use, so that `import echobank` stays fast and needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from echobank.version import __version__

if TYPE_CHECKING:
    from echobank.detection.backends import register_backend
    from echobank.machines.detector import Detector
    from echobank.models.registry import load_encoder, register_encoder

__all__ = ["Detector", "__version__", "load_encoder", "register_backend", "register_encoder"]

_HOMES = {
    "Detector": "echobank.machines.detector",
    "load_encoder": "echobank.models.registry",
    "register_backend": "echobank.detection.backends",
    "register_encoder": "echobank.models.registry",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'echobank' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
