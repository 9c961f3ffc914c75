"""A PostgreSQL server on loopback for the tests: made by initdb, started by pg_ctl, gone at the end."""

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from tests.requirements import require


@contextmanager
def server():
    """Yield the address of a server, without the name of a database."""
    programs = require("postgresql")
    folder = Path(tempfile.mkdtemp(prefix="echobank-pg-"))
    become = []
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        become = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program, *arguments):
        subprocess.run(
            [*become, programs / program, *arguments],
            check=True,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )

    data, log = folder / "data", folder / "log"
    run("initdb", "-D", data, "-U", "echobank", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off"
    try:
        run("pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start")
        yield f"postgresql://echobank@127.0.0.1:{port}"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
