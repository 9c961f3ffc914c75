"""Where an encoder runs, and in which arithmetic."""

from pathlib import Path

import torch

from echobank.errors import ConfigError

PRECISIONS = ("fp32", "bf16", "auto")
_MATRIX_UNITS = {"amx_bf16", "avx512_bf16"}  # /proc/cpuinfo flags of processors with bf16 products


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
    """Return "fp32" or "bf16"; auto takes bf16 where the processor or GPU multiplies it in hardware.

    Raises:
        ConfigError: Unknown precision.
    """
    if name not in PRECISIONS:
        raise ConfigError("unknown precision", value=name, hint=f"use {', '.join(PRECISIONS)}")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return "fp32"
    return "bf16" if flags & _MATRIX_UNITS else "fp32"
