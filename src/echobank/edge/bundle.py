"""Bundle: the folder that holds a machine for a device, written whole or not at all, and checked when it is read."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from echobank.edge.assembly import Assembled, assemble_graph
from echobank.edge.nodes import DATA, EXTERNAL_BYTES
from echobank.errors import BankError, OutputError
from echobank.machines.archive import bank_file
from echobank.machines.machine import Machine, own_machine
from echobank.models.provenance import Provenance
from echobank.storage import sha256_file, write_json, write_text

FORMAT = 1
GRAPH, FACTS = "machine.onnx", "edge.json"
_DOC = "A machine of echobank: samples of one window to score, p-value, decision and nearest healthy row."


@dataclass(frozen=True)
class EdgeFacts:
    """What `edge.json` says.

    Attributes:
        machine: The user's name of the machine.
        revision: How many changes led to the bank.
        bank_sha256: Hash of the bank file.
        sample_rate: Rate of the recorder, Hz.
        encoder_rate: Rate that the encoder hears at, Hz.
        channel: Channel that is heard, from 0.
        window_seconds: Length of a window.
        hop_seconds: Distance between the beginnings of windows.
        window_samples: Length of a window at the encoder's rate.
        hop_samples: The hop at the encoder's rate; need not be whole.
        resamples: Whether the graph resamples; then it takes `skip`, `count`, `first` and `under`.
        period: Samples of the recorder that come to `outputs` samples of the encoder.
        outputs: See `period`.
        reach: Samples of the recorder that are heard before and behind a window.
        threshold: The score above which a window is anomalous.
        false_alarm_rate: The rate that the threshold is for.
        smallest_p: The smallest p-value that the bank supports.
        provenance: What made the vectors, as in the header of a bank.
        rows: File and beginning in seconds of each healthy row.
        files: Hash of each file that the device loads.
        int8: Whether the encoder computes in 8 bits, other than when it made the bank.
        format: Number of this form.
    """

    machine: str
    revision: int
    bank_sha256: str
    sample_rate: int
    encoder_rate: int
    channel: int
    window_seconds: float
    hop_seconds: float
    window_samples: int
    hop_samples: float
    resamples: bool
    period: int
    outputs: int
    reach: int
    threshold: float
    false_alarm_rate: float
    smallest_p: float
    provenance: dict[str, Any]
    rows: tuple[tuple[str, float], ...]
    files: dict[str, str]
    int8: bool = False
    format: int = FORMAT

    @property
    def made_by(self) -> Provenance:
        """What made the vectors."""
        return Provenance.from_header(self.provenance)


def write_bundle(
    machine: Machine,
    bank: Path | str,
    out: Path | str,
    *,
    sample_rate: int | None = None,
    int8: bool = False,
    announce: Callable[[int], None] = lambda size: None,
) -> EdgeFacts:
    """Write a machine as a folder for a device; the same bank gives the same bytes.

    Args:
        machine: The machine, at the false-alarm rate in force.
        bank: Path of its bank.
        out: The folder; a package that is there is replaced.
        sample_rate: Rate of the device's recorder, Hz; None is the encoder's own.
        int8: Hold the weights of BEATs in 8 bits and multiply in them.
        announce: Takes the size that the package will have, in bytes, before anything is written.

    Raises:
        ConfigError: Channel, encoder, pooling, back-end, rate or precision cannot be exported; nothing is written.
        OutputError: The folder cannot be written, or holds something else.
    """
    out = Path(out)
    require_free(out)
    made = assemble_graph(machine, sample_rate, int8)
    size = _size(made, len(machine.bank))
    announce(size)
    sha256 = sha256_file(bank_file(bank))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(out.parent).free) < size:
            raise OutputError(
                f"the package needs {size / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free", where=out.parent
            )
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
            facts = _fill(Path(folder) / out.name, machine, made, sha256, int8)
            if out.exists():
                out.replace(Path(folder) / "before")
            (Path(folder) / out.name).replace(out)
    except OSError as error:
        raise OutputError(f"cannot write ({error.strerror or error})", where=out) from error
    return facts


def require_free(out: Path) -> None:
    """Refuse a folder that is there and is no package.

    Raises:
        OutputError: It is.
    """
    if out.exists() and not (out / FACTS).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError("the folder exists and is not an edge package", where=out, hint="name another folder")


def read_facts(folder: Path | str) -> EdgeFacts:
    """Return what a package says of itself, its files held to their hashes and its graph to its bank.

    Raises:
        BankError: No package, a newer one, or one whose files do not belong together.
    """
    folder = Path(folder)
    try:
        plain = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if plain["format"] > FORMAT:
            raise BankError("the package was written by a newer echobank", where=folder, hint="update echobank")
        plain["rows"] = tuple((str(file), float(start)) for file, start in plain["rows"])
        facts = EdgeFacts(**plain)
        for name, sha256 in facts.files.items():
            if sha256_file(folder / name) != sha256:
                raise BankError(f"{name} is not the one of {FACTS}", where=folder, hint="export it again")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BankError("not an edge package, or a damaged one", where=folder, hint="export it again") from error
    return facts


def _size(made: Assembled, rows: int) -> int:
    """Return about how many bytes a package comes to."""
    page = 0 if made.graph.nbytes > EXTERNAL_BYTES else sum(len(file.read_bytes()) for file in _files("vendor"))
    return made.graph.nbytes + 400 * len(made.graph.nodes) + 60 * rows + page


def _files(folder: str) -> list[Traversable]:
    return [file for file in files("echobank.edge").joinpath(folder).iterdir() if file.is_file()]


def _fill(folder: Path, machine: Machine, made: Assembled, sha256: str, int8: bool) -> EdgeFacts:
    """Write the files of a package into a new folder."""
    folder.mkdir()
    own = own_machine(machine.bank)
    said = {"bank_sha256": sha256, "machine": own.name, "revision": str(own.revision)}
    data = folder / DATA if made.graph.nbytes > EXTERNAL_BYTES else None
    made.graph.save(folder / GRAPH, said | {"threshold": repr(machine.threshold)}, _DOC, data)
    loaded = {name: sha256_file(folder / name) for name in (GRAPH, DATA) if (folder / name).exists()}
    facts = replace(_facts(machine, made, sha256, loaded), int8=int8)
    write_json(folder / FACTS, asdict(facts))
    if DATA not in loaded:  # a browser could not hold the graph of a larger bank
        (folder / "vendor").mkdir()
        for source in _files("vendor"):
            (folder / "vendor" / source.name).write_bytes(source.read_bytes())
    for source in _files("device"):
        if DATA in loaded and not source.name.endswith(".txt"):
            continue
        text = source.read_text(encoding="utf-8")
        if source.name == "README.txt":
            text = text.format(**asdict(facts), channels_read=facts.channel + 1)
        write_text(folder / source.name.removesuffix(".txt" if source.name != "README.txt" else ""), text)
    return facts


def _facts(machine: Machine, made: Assembled, sha256: str, loaded: dict[str, str]) -> EdgeFacts:
    listener, own, resampler = machine.listener, own_machine(machine.bank), made.resampler
    rate = listener.encoder.facts.sample_rate
    return EdgeFacts(
        machine=own.name,
        revision=own.revision,
        bank_sha256=sha256,
        sample_rate=made.sample_rate,
        encoder_rate=rate,
        channel=made.channel,
        window_seconds=listener.seconds,
        hop_seconds=listener.hop,
        window_samples=round(listener.seconds * rate),
        hop_samples=listener.hop * rate,
        resamples=resampler is not None,
        period=resampler.period if resampler else 1,
        outputs=resampler.outputs if resampler else 1,
        reach=resampler.reach if resampler else 0,
        threshold=machine.threshold,
        false_alarm_rate=machine.rate,
        smallest_p=machine.calibration.smallest_rate,
        provenance=listener.provenance.to_header(),
        rows=tuple((row.file, round(row.start, 3)) for row in machine.bank.rows),
        files=loaded,
    )
