"""DCASE Challenge Task 2 data sets, 2020 to 2026: the names of their recordings and the folders they lie in."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

from echobank.data.attributes import Attributes, pairs_of, read_attributes
from echobank.data.folder import is_foreign, is_recording
from echobank.errors import InputError

Split = Literal["train", "test", "supplemental"]
Domain = Literal["source", "target", "unknown"]
Condition = Literal["normal", "anomaly", "unknown"]

# Folder of a machine -> (split, domain where the name gives none). The two test folders with a domain are of 2021.
SPLIT_FOLDERS: dict[str, tuple[Split, Domain]] = {
    "train": ("train", "unknown"),
    "test": ("test", "unknown"),
    "source_test": ("test", "source"),
    "target_test": ("test", "target"),
    "test_rename": ("test", "unknown"),
    "supplemental": ("supplemental", "unknown"),
}
_BASES = ("", "raw", "dev_data/raw", "eval_data/raw", "dev_data", "eval_data")

_CLIP = re.compile(
    r"section_(?P<section>\d{2})(?:_(?P<domain>source|target))?(?:_(?P<split>train|test))?"
    r"(?:_(?P<condition>normal|anomaly))?_\d+(?:_(?P<attributes>.*))?"
)
_SUPPLEMENT = re.compile(r"section_(?P<section>\d{2})(?:_(?P<words>[^\d_].*?))?_\d+(?:_(?P<attributes>.*))?")
_CLIP_2020 = re.compile(r"(?:(?P<condition>normal|anomaly)_)?id_(?P<section>\d{2})_\d+")


@dataclass(frozen=True)
class Recording:
    """One recording of a data set, as its name, folder and attributes file describe it.

    Attributes:
        path: The file.
        machine: Machine type.
        section: "00" and so on; the machine's id in 2020.
        split: What the recording is for.
        domain: "source" or "target"; "unknown" for blind clips. A training clip or a clip of 2020 that names
            none is "source": there, only one domain exists.
        condition: "normal" or "anomaly"; "unknown" for blind and supplemental clips that do not say.
        attributes: Names and values, in their order.
        role: What a supplemental clip holds, such as "machine" or "noise"; empty otherwise.
    """

    path: Path
    machine: str
    section: str
    split: Split
    domain: Domain
    condition: Condition
    attributes: Attributes = ()
    role: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def key(self) -> str:
        """The recording's name within the data set, wherever that lies."""
        return f"{self.machine}/{self.split}/{self.name}"


@dataclass(frozen=True)
class Problem:
    """A file that does not add up, why, in one line, and whether it was left out for it."""

    path: Path
    reason: str
    left_out: bool = True


@dataclass(frozen=True)
class Dataset:
    """The recordings of a data set.

    Attributes:
        root: The folder that was given.
        recordings: Sorted by machine, section, split and name.
        problems: What does not add up.
    """

    root: Path
    recordings: tuple[Recording, ...]
    problems: tuple[Problem, ...] = ()

    @cached_property
    def _groups(self) -> dict[tuple[str, str, str], tuple[Recording, ...]]:
        groups: dict[tuple[str, str, str], list[Recording]] = {}
        for recording in self.recordings:
            groups.setdefault((recording.machine, recording.section, recording.split), []).append(recording)
        return {key: tuple(group) for key, group in groups.items()}

    @property
    def machines(self) -> tuple[str, ...]:
        """Machine types, sorted."""
        return tuple(sorted({machine for machine, _, _ in self._groups}))

    def sections(self, machine: str) -> tuple[str, ...]:
        """Sections of a machine, sorted."""
        return tuple(sorted({section for name, section, _ in self._groups if name == machine}))

    def select(self, machine: str, section: str, split: Split) -> tuple[Recording, ...]:
        """Recordings of one machine, section and split, sorted by name."""
        return self._groups.get((machine, section, split), ())

    def require_train(self, machine: str) -> tuple[str, ...]:
        """Return the sections of a machine that have training clips.

        Raises:
            InputError: None has.
        """
        sections = tuple(s for s in self.sections(machine) if self.select(machine, s, "train"))
        if not sections:
            raise InputError(
                f"{machine} has no training clips", where=self.root, hint=f"put its normal clips in {machine}/train"
            )
        return sections


def scan(root: Path | str, machines: Sequence[str] = ()) -> Dataset:
    """Find and parse the recordings of a data set.

    Takes the official tree ({dev_data,eval_data}/raw/<machine>), any level of it, a folder of machines, and a
    folder that is one machine. Where `test_rename` (blind clips under their true names) exists, it stands for
    `test`. Attributes come from `attributes_NN.csv` where the name gives none; where the two disagree the
    recording keeps those of its name and the disagreement is a problem. Files whose name starts with a dot are
    not recordings.

    Args:
        root: Where to look.
        machines: Machines wanted; empty takes all.

    Raises:
        InputError: No such folder, no machine in it, a machine that is not there, or no recording.
    """
    root = Path(root)
    folders = _machine_folders(root)
    require_machines(machines, {folder.name for folder in folders}, root)
    found: dict[str, Recording] = {}
    problems: list[Problem] = []
    for folder in folders:
        if machines and folder.name not in machines:
            continue
        for item in _scan_machine(folder):
            if isinstance(item, Problem):
                problems.append(item)
            elif item.key in found:
                problems.append(Problem(item.path, f"left out, the same name as {found[item.key].path}"))
            else:
                found[item.key] = item
    if not found:
        why = f" ({problems[0].path.name}: {problems[0].reason})" if problems else ""
        raise InputError(f"there are no usable recordings{why}", where=root)
    ordered = sorted(found.values(), key=lambda r: (r.machine, r.section, r.split, r.name))
    return Dataset(root, tuple(ordered), tuple(sorted(problems, key=lambda p: str(p.path))))


def require_machines(wanted: Iterable[str], known: Iterable[str], where: Path | str) -> None:
    """Refuse a machine that a data set does not have, naming the nearest one.

    Raises:
        InputError: One is not among `known`.
    """
    names = sorted(set(known))
    for machine in wanted:
        if machine not in names:
            near = get_close_matches(machine, names, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
            raise InputError("no such machine", value=machine, where=where, hint=hint)


def parse_name(path: Path, machine: str, split: Split, domain: Domain = "unknown") -> Recording:
    """Return what a recording's name and folder say.

    Args:
        path: The file; only its name is looked at.
        machine: Machine type.
        split: Split of the folder it lies in.
        domain: Domain of the folder, for names that give none.

    Raises:
        InputError: The name is not one of the data sets', or says another split than the folder.
    """
    stem = path.stem
    old = _CLIP_2020.fullmatch(stem)
    match = old or (_SUPPLEMENT if split == "supplemental" else _CLIP).fullmatch(stem)
    if not match:
        raise InputError("the name is not one of a DCASE Task 2 recording", value=path.name)
    parts = match.groupdict()
    if parts.get("split") not in (None, split):
        raise InputError(f"the name says {parts['split']}, the folder {split}", value=path.name)
    words = (parts.get("words") or "").split("_")
    stated = parts.get("domain") or next((word for word in words if word in ("source", "target")), domain)
    if stated == "unknown" and (old or split == "train"):
        stated = "source"
    condition = parts.get("condition") or next((word for word in words if word in ("normal", "anomaly")), "unknown")
    role = "_".join(word for word in words if word not in (stated, condition))
    section = str(parts["section"])
    if split == "train" and condition == "unknown":
        condition = "normal"
    attributes = pairs_of(parts.get("attributes") or "")
    return Recording(path, machine, section, split, cast(Domain, stated), cast(Condition, condition), attributes, role)


def _machine_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InputError("no such folder" if not root.exists() else "not a folder", where=root)
    try:
        if _is_machine(root):
            return [root.resolve()]
        bases = [root / base for base in _BASES if (root / base).is_dir()]
        inside = [folder for base in bases for folder in sorted(base.iterdir())]
        folders = [folder for folder in inside if folder.is_dir() and _is_machine(folder)]
    except OSError as error:
        raise InputError(f"the folder cannot be listed ({error.strerror})", where=error.filename or root) from error
    if not folders:
        raise InputError(
            "no machine folder was found",
            where=root,
            hint="expected <machine>/train and <machine>/test, or {dev_data,eval_data}/raw/<machine>/...",
        )
    return folders


def _is_machine(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in SPLIT_FOLDERS)


def _scan_machine(folder: Path) -> Iterator[Recording | Problem]:
    table, failures = read_attributes(folder)
    yield from (Problem(path, reason) for path, reason in failures)
    renamed = (folder / "test_rename").is_dir()
    for name, (split, domain) in SPLIT_FOLDERS.items():
        if not (folder / name).is_dir() or (renamed and name == "test"):
            continue
        try:
            paths = sorted((folder / name).iterdir())
        except OSError as error:
            yield Problem(folder / name, f"left out, the folder cannot be listed ({error.strerror})")
            continue
        for path in paths:
            suffix = path.suffix.lower()
            if path.name.startswith(".") or not (is_recording(path.name) or is_foreign(path.name)):
                continue
            if suffix != ".wav":
                yield Problem(path, f"left out, recordings of DCASE Task 2 are .wav and this is {suffix}")
                continue
            yield from _describe(path, folder.name, split, domain, table)


def _describe(
    path: Path, machine: str, split: Split, domain: Domain, table: dict[str, Attributes]
) -> Iterator[Recording | Problem]:
    try:
        recording = parse_name(path, machine, split, domain)
    except InputError as error:
        yield Problem(path, f"left out, {error}")
        return
    if split == "train" and recording.condition == "anomaly":
        yield Problem(path, "left out, an anomaly among the training clips")
        return
    listed = table.get(f"{path.parent.name}/{path.name}", ())
    if not listed or _flat(listed) == _flat(recording.attributes):
        yield replace(recording, attributes=listed or recording.attributes)
    elif not recording.attributes:
        yield replace(recording, attributes=listed)
    else:
        names, csv = _flat(recording.attributes), _flat(listed)
        reason = f"attributes disagree: the name says {names}, the attributes file {csv}; kept the name's"
        yield Problem(path, reason, left_out=False)
        yield recording


def _flat(attributes: Attributes) -> str:
    return "_".join(part for pair in attributes for part in pair if part)
