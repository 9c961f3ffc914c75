"""A disk of 20 MB for the tests: a tmpfs in a mount namespace of its own, so that nothing of it is left behind."""

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.requirements import require


@dataclass(frozen=True)
class SmallDisk:
    """The disk.

    Attributes:
        folder: Where programs that are started with `prefix` see it.
        prefix: Words before a command that enter its namespace.
        seen: Where this process sees it.
    """

    folder: Path
    prefix: tuple[str, ...]
    seen: Path

    def fill(self):
        """Take every byte that is left, and return the file that does."""
        filler = self.seen / "filler"
        with filler.open("ab", buffering=0) as stream:
            for size in (1 << 16, 1 << 10, 1):
                try:
                    while stream.write(bytes(size)):
                        pass
                except OSError:
                    continue
        return filler


@contextmanager
def small_disk(folder, megabytes=20):
    """Yield a small disk that is mounted at a folder."""
    require("namespaces")
    root = os.geteuid() == 0
    flags = ["-m"] if root else ["-Urm"]
    script = f'mount -t tmpfs -o size={megabytes}m,mode=700 tmpfs "$0" && echo ready && exec sleep 600'
    command = ["unshare", *flags, "sh", "-c", script, str(folder)]
    folder.mkdir(parents=True, exist_ok=True)
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "ready\n"
        enter = ("nsenter", "-t", str(holder.pid), "-m", *(() if root else ("-U", "--preserve-credentials")))
        yield SmallDisk(folder, enter, Path(f"/proc/{holder.pid}/root/{folder}"))
    finally:
        holder.kill()
        holder.communicate()
