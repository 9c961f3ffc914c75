"""Where an encoder runs, and in which arithmetic.

What a processor can do is asked of the libraries that will do it and then measured, never read from a list of its
features: oneDNN also multiplies bfloat16 where the processor has no unit for it, at a fifth of the speed of float32.
"""

import time
from functools import lru_cache

import torch
from torch import Tensor

from echobank.errors import ConfigError
from echobank.models.workers import single_threaded

PRECISIONS = ("fp32", "bf16", "auto")
_PAYS = 0.8  # share of the float32 time below which bfloat16 is called faster; units for it take 0.1 to 0.5


def pick_device(name: str) -> torch.device:
    """Return the device of a name: auto, cpu, cuda, cuda:1 and so on.

    Raises:
        ConfigError: Unknown, or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError("unknown device", value=name, hint="use auto, cpu or cuda") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError("there is no such CUDA device here", value=name, hint="set model.device=cpu")
    if device.type not in ("cpu", "cuda"):
        raise ConfigError("unknown device", value=name, hint="use auto, cpu or cuda")
    return device


def pick_precision(name: str, device: torch.device) -> str:
    """Return "fp32" or "bf16"; auto takes bf16 where the processor or GPU multiplies it faster than float32.

    Raises:
        ConfigError: Unknown precision.
    """
    if name not in PRECISIONS:
        raise ConfigError("unknown precision", value=name, hint=f"use {', '.join(PRECISIONS)}")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if bf16_pays() else "fp32"


def has_packed_products() -> bool:
    """Return whether oneDNN is here, which lays weights out once for the matrix units of this processor."""
    return bool(torch.backends.mkldnn.is_available()) and _pack_and_multiply_works()  # type: ignore[no-untyped-call]


def bf16_pays() -> bool:
    """Return whether products of bfloat16 are faster than those of float32 on this processor."""
    return has_packed_products() and _bf16_is_faster()


def packed_weight(weight: Tensor, rows: int) -> Tensor:
    """Return a weight [outputs, inputs] laid out for products with about `rows` rows."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return packed


def packed_product(
    x: Tensor, packed: Tensor, bias: Tensor | None = None, name: str = "none", algorithm: str = ""
) -> Tensor:
    """Return f(x W^T + b) by a packed weight; `name` and `algorithm` are what oneDNN calls the activation f."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, name, [], algorithm)
    return product


@lru_cache(maxsize=1)
def _pack_and_multiply_works() -> bool:
    x = torch.eye(16)
    try:
        return bool(torch.equal(packed_product(x, packed_weight(x, 16)), x))
    except (AttributeError, RuntimeError):  # built without oneDNN, or without these products
        return False


@lru_cache(maxsize=1)
def _bf16_is_faster() -> bool:
    """Ask oneDNN whether it multiplies bfloat16, then race both types once: some 0.1 s, kept for the process."""
    try:
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        return _fastest(torch.bfloat16) < _PAYS * _fastest(torch.float32)
    except (AttributeError, RuntimeError):
        return False


def _fastest(dtype: torch.dtype) -> float:
    """Return the shortest of a few times of one product of the size of a layer's, seconds of one core.

    One thread and its processor time: neighbours on the machine do not count.
    """
    x, weight = torch.ones(128, 768, dtype=dtype), torch.ones(768, 768, dtype=dtype)
    with single_threaded(), torch.inference_mode():
        packed = packed_weight(weight, len(x))
        packed_product(x, packed)
        return min(_seconds(x, packed) for _ in range(7))


def _seconds(x: Tensor, packed: Tensor) -> float:
    start = time.thread_time()
    for _ in range(2):
        packed_product(x, packed)
    return time.thread_time() - start
