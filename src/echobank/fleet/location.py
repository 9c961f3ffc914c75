"""A location: a folder on disk or a prefix on S3, whose files are listed, read, and written whole.

On disk a file is written to a temporary name and renamed; on S3 an object appears only when its upload is complete.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from echobank.errors import InputError, OutputError
from echobank.storage import stamp_from, write_bytes

S3 = "s3://"
_HINT = "check the name, the region and the credentials (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...)"


@dataclass(frozen=True)
class Stamped:
    """A file of a location.

    Attributes:
        name: Relative to the location, with forward slashes.
        version: What distinguishes it from a later file of the same name: size and time of change.
        modified: Time of change, ns.
        size: Bytes.
    """

    name: str
    version: str
    modified: int
    size: int


@dataclass(frozen=True)
class Location:
    """A folder on disk or a prefix on S3; a value that can go to another process.

    Attributes:
        uri: A path, or `s3://bucket/prefix`, with the options of `pyarrow.fs.FileSystem.from_uri` after a "?".
    """

    uri: str

    @property
    def remote(self) -> bool:
        """Whether it is on S3."""
        return self.uri.startswith(S3)

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system and the path in it."""
        if not self.remote:
            return None, str(Path(self.uri).absolute())
        fs = arrow_fs()
        try:
            system, path = fs.FileSystem.from_uri(self.uri)
        except (OSError, ValueError) as error:
            raise InputError("cannot open", where=self.uri, hint=f"{error}; {_HINT}") from error
        return system, str(path).rstrip("/")

    def __getstate__(self) -> dict[str, str]:
        return {"uri": self.uri}

    def __setstate__(self, state: dict[str, str]) -> None:
        object.__setattr__(self, "uri", state["uri"])

    def below(self, name: str) -> "Location":
        """Return the location of a folder in this one."""
        base, mark, options = self.uri.partition("?") if self.remote else (self.uri, "", "")
        return Location(f"{base.rstrip('/') or '/'}/{name}{mark}{options}")

    def show(self, name: str = "") -> str:
        """Return the full name of a file, for people and tables; as `Path` writes it on disk."""
        if not self.remote:
            return str(Path(self.uri) / name)
        return f"{self.uri.partition('?')[0].rstrip('/')}/{name}".rstrip("/")

    def folders(self, name: str = "") -> list[str]:
        """Return the names of the folders directly in a folder, sorted; none where it does not exist.

        Raises:
            InputError: It cannot be listed.
        """
        if not self.remote:
            try:
                with os.scandir(self._path(name)) as entries:
                    return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
            except (FileNotFoundError, NotADirectoryError):
                return []
            except OSError as error:
                raise InputError(f"cannot list ({error.strerror})", where=self.show(name)) from error
        return sorted(info.base_name for info in self._select(name, False) if not info.is_file)

    def files(self, name: str = "") -> list[Stamped]:
        """Return the files directly in a folder, sorted by name; none where it does not exist.

        Raises:
            InputError: It cannot be listed.
        """
        prefix = f"{name}/" if name else ""
        if not self.remote:
            try:
                with os.scandir(self._path(name)) as entries:
                    found = [(e.name, e.stat()) for e in entries if e.is_file() and not e.name.startswith(".")]
            except (FileNotFoundError, NotADirectoryError):
                return []
            except OSError as error:
                raise InputError(f"cannot list ({error.strerror})", where=self.show(name)) from error
            return sorted(
                (Stamped(prefix + file, stamp_from(s), s.st_mtime_ns, s.st_size) for file, s in found),
                key=lambda file: file.name,
            )
        infos = (info for info in self._select(name, False) if info.is_file)
        return sorted((_stamped(prefix + info.base_name, info) for info in infos), key=lambda file: file.name)

    def tree(self, name: str = "") -> list[Stamped]:
        """Return the files of a folder of S3 and of all folders in it, sorted by name.

        Raises:
            InputError: It cannot be listed.
        """
        root = self._path(name)
        prefix = f"{name}/" if name else ""
        infos = (info for info in self._select(name, True) if info.is_file)
        return sorted((_stamped(prefix + i.path[len(root) + 1 :], i) for i in infos), key=lambda file: file.name)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file; from S3 with one request for its size and one for all bytes.

        Raises:
            OSError: It is not there, or cannot be read.
        """
        if not self.remote:
            return Path(self._path(name)).read_bytes()
        with self._opened[0].open_input_file(self._path(name)) as file:
            return bytes(file.read(file.size()))  # a stream would ask for 256 KiB at a time

    def stamp(self, name: str) -> Stamped | None:
        """Return what a file is now, None where there is none."""
        if not self.remote:
            try:
                facts = Path(self._path(name)).stat()
            except OSError:
                return None
            return Stamped(name, stamp_from(facts), facts.st_mtime_ns, facts.st_size)
        info = self._opened[0].get_file_info(self._path(name))
        return _stamped(name, info) if info.is_file else None

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        if not self.remote:
            write_bytes(self._path(name), content)
            return
        try:
            with self._opened[0].open_output_stream(self._path(name)) as stream:
                stream.write(content)
        except OSError as error:
            raise OutputError(f"cannot write ({error})", where=self.show(name), hint=_HINT) from error

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is no error."""
        if not self.remote:
            Path(self._path(name)).unlink(missing_ok=True)
            return
        try:
            self._opened[0].delete_file(self._path(name))
        except FileNotFoundError:
            return

    def sweep(self) -> int:
        """Remove the temporary files that killed programs left; returns how many. S3 has none.

        Called when no program writes here: at the end of a run, which holds the lock.
        """
        if self.remote:
            return 0
        left = [path for path in Path(self.uri).rglob(".*.tmp") if path.is_file()]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    @contextmanager
    def at_hand(self, name: str) -> Iterator[Path]:
        """Provide a local path of a file: its own, or that of a temporary copy."""
        if not self.remote:
            yield Path(self._path(name))
            return
        folder = Path(tempfile.mkdtemp(prefix="echobank-"))
        try:
            path = folder / name.rpartition("/")[2]
            path.write_bytes(self.read(name))
            yield path
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _path(self, name: str) -> str:
        root = self._opened[1]
        return f"{root}/{name}" if name else root

    def _select(self, name: str, recursive: bool) -> list[Any]:
        selector = arrow_fs().FileSelector(self._path(name), allow_not_found=True, recursive=recursive)
        try:
            found: list[Any] = self._opened[0].get_file_info(selector)
        except OSError as error:
            raise InputError(f"cannot list ({error})", where=self.show(name), hint=_HINT) from error
        return found


def arrow_fs() -> Any:
    """Return `pyarrow.fs`.

    Raises:
        InputError: pyarrow is not installed.
    """
    try:
        import pyarrow.fs
    except ImportError as error:
        raise InputError("a fleet needs pyarrow", hint="pip install 'echobank[fleet]'") from error
    return pyarrow.fs


def _stamped(name: str, info: Any) -> Stamped:
    modified = int(info.mtime_ns or 0)
    return Stamped(name, f"{info.size}-{modified}", modified, int(info.size))
