"""The rule that makes every reference checkpoint: float32 weights from the name of a key alone.

One PCG64 stream per key, seeded by [crc32(key), salt], so that neither the tiny checkpoints nor a model of 90 million
parameters needs a file. Each kind of weight has the spread that keeps the activations of a BEATs model near 1.
"""

import hashlib
import zlib
from collections.abc import Mapping

import numpy as np

Shapes = Mapping[str, tuple[int, ...]]


def tensor(key: str, shape: tuple[int, ...], salt: int) -> np.ndarray:
    """Return the reference weight of `key`, float32 of `shape`."""
    rng = np.random.Generator(np.random.PCG64([zlib.crc32(key.encode()), salt]))
    a = rng.standard_normal(shape).astype(np.float32)
    if key.endswith("weight_g"):
        a = np.abs(a) * 0.5 + 0.5
    elif key.endswith("layer_norm.weight"):
        a = 1 + 0.1 * a
    elif key.endswith("grep_a"):
        a = 1 + 0.5 * a
    elif key.endswith("relative_attention_bias.weight"):
        a = 0.5 * a
    elif key.endswith("bias"):
        a = 0.05 * a
    elif len(shape) >= 2:
        a = a / np.sqrt(np.prod(shape[1:])).astype(np.float32)
    return a.astype(np.float32)


def state_dict(shapes: Shapes, salt: int) -> dict[str, np.ndarray]:
    """Return all weights of a checkpoint whose keys and shapes are given.

    The official model stores the relative position table of layer 0 once per layer; every copy equals the first.
    """
    out = {key: tensor(key, tuple(shape), salt) for key, shape in shapes.items()}
    tables = [key for key in out if key.endswith("relative_attention_bias.weight")]
    for key in tables[1:]:
        out[key] = out[tables[0]].copy()
    return out


def digest(state: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of all weights in the order of their keys, to notice a numpy that draws other numbers."""
    found = hashlib.sha256()
    for key in sorted(state):
        found.update(key.encode())
        found.update(np.ascontiguousarray(state[key], "<f4").data)
    return found.hexdigest()
