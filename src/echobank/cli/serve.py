"""Serve machines over HTTP: upload recordings, read verdicts, scores and events, say what was no fault."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from echobank.cli.own import seconds, size
from echobank.cli.watching import add_places, k_of_n, places_of, secret
from echobank.errors import ConfigError

if TYPE_CHECKING:
    from echobank.serve.premises import ServiceSettings
    from echobank.serve.service import Service


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank serve`."""
    add = parser.add_argument
    add("banks", metavar="BANKS", help="folder of the banks, for example banks")
    add("--data", metavar="DIR", required=True, help="folder of the database and of the sound of events")
    add("--database", metavar="URL", default="", help="postgresql://USER@HOST/NAME (default: SQLite in DIR)")
    add("--database-password-file", metavar="FILE", help="password (or set ECHOBANK_DATABASE_PASSWORD)")
    add("--bind", type=address, default=("127.0.0.1", 8080), metavar="HOST:PORT", help="default: 127.0.0.1:8080")
    add("--host", action="append", default=[], metavar="NAME", help="a host name that the service answers to")
    add("--tls-cert", metavar="FILE", help="certificate; without one, put the service behind a proxy")
    add("--tls-key", metavar="FILE", help="key of the certificate")
    add("--new-token", metavar="NAME", help="make a token, print it and stop")
    add(
        "--scopes",
        default="read",
        metavar="LIST",
        help="scopes of --new-token, for example read,upload,curate,audio,admin",
    )
    add("--backup", metavar="FILE", help="write everything that the service keeps, and the banks, to a file, then stop")
    add("--restore", metavar="FILE", help="restore a backup into new folders, then stop")
    add("--clips", choices=("all", "no-speech", "none"), default="all", help="sound of events that is kept")
    add("--no-clips", dest="clips", action="store_const", const="none", help="keep no sound at all")
    add("--keep-clips", type=float, default=0.0, metavar="DAYS", help="remove clips that are older (default: never)")
    add("--quota", type=size, default=0, metavar="SIZE", help="bytes that DIR may take; the oldest clips go first")
    add("--max-upload", type=size, default=64 << 20, metavar="SIZE", help="largest recording (default: 64M)")
    add("--max-seconds", type=seconds, default=600.0, metavar="TIME", help="longest recording (default: 10min)")
    add("--min-free", type=size, metavar="SIZE", help="free disk space to keep (default: 1G, at most 5 %%)")
    add("--queue", type=int, default=64, metavar="N", help="recordings under way at once (default: 64)")
    add("--k-of-n", type=k_of_n, default=(3, 5), metavar="K/N", help="K of N windows open an event (default: 3/5)")
    add(
        "--hysteresis",
        metavar="X",
        type=float,
        default=0.3,
        help="an event closes: 0 at the threshold, 1 at the median",
    )
    add("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    add_places(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until the process is stopped."""
    require_libraries("serve", ("fastapi", "uvicorn", "sqlalchemy", "alembic", "prometheus_client"))
    if args.new_token is not None:
        return _make_token(args)
    if args.backup is not None or args.restore is not None:
        return _keep_or_bring_back(args)
    from echobank.serve.access import has_tokens
    from echobank.serve.app import LOOPBACK, guarded, make_app, make_server
    from echobank.serve.courier import Destination
    from echobank.serve.doorway import check_certificate, take_address
    from echobank.serve.service import Service

    host, port = args.bind
    if bool(args.tls_cert) != bool(args.tls_key):
        raise ConfigError("a certificate needs its key", hint="give both --tls-cert and --tls-key")
    if args.tls_cert:
        check_certificate(args.tls_cert, args.tls_key)
    beyond = host not in LOOPBACK
    called = frozenset(map(str.lower, args.host))  # a name of its own means that others call it, through a proxy
    required = beyond or bool(called - LOOPBACK)
    places = [Destination(name, make, name.startswith("mqtt-")) for name, make in places_of(args).items()]
    service = Service(_settings(args, required))
    try:
        if required and not has_tokens(service.engine):
            hint = "make one first: echobank serve BANKS --data DIR --new-token NAME --scopes read,upload"
            value = host if beyond else sorted(called - LOOPBACK)[0]
            raise ConfigError("an address beyond loopback needs a token", value=value, hint=hint)
        app = guarded(make_app(service), service, called | {host}, figures=beyond)
        server = make_server(app, service, ssl_certfile=args.tls_cert, ssl_keyfile=args.tls_key)
        with take_address(host, port) as door:
            service.send_to(places)
            _say(service, host, door.getsockname()[1], "https" if args.tls_cert else "http")
            server.run(sockets=[door])
    finally:
        service.close()
    return 0


def address(text: str) -> tuple[str, int]:
    """Return (host, port) of a text such as 127.0.0.1:8080 or [::1]:8080."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdecimal() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"not an address: {text!r}; write 127.0.0.1:8080")
    return host, int(port)


def _settings(args: argparse.Namespace, required: bool) -> "ServiceSettings":
    from echobank.serve.decoder import Limits
    from echobank.serve.premises import ServiceSettings, usual_floor

    if args.queue < 1:
        raise ConfigError("a queue holds one recording or more", value=args.queue)
    if not 0 <= args.keep_clips < float("inf"):
        raise ConfigError("days are a number from 0", value=args.keep_clips)
    folder = Path(args.data)
    return ServiceSettings(
        banks=Path(args.banks),
        folder=folder,
        database=_database(args),
        required=required,
        most_bytes=args.max_upload,
        depth=args.queue,
        least_free=usual_floor(folder) if args.min_free is None else args.min_free,
        keeps_clips=args.clips != "none",
        keeps_speech=args.clips != "no-speech",
        clip_days=args.keep_clips,
        quota=args.quota,
        k=args.k_of_n[0],
        n=args.k_of_n[1],
        hysteresis=args.hysteresis,
        device=args.device,
        limits=Limits(seconds=args.max_seconds),
    )


def _database(args: argparse.Namespace) -> str:
    """Return the address of the database with its password, which need not be on the command line."""
    from echobank.serve.database import with_password

    password = secret(args.database_password_file, "ECHOBANK_DATABASE_PASSWORD")
    return with_password(args.database, password) if args.database and password else args.database


def _make_token(args: argparse.Namespace) -> int:
    from echobank.serve.access import make_token
    from echobank.serve.database import embedded, open_database

    Path(args.data).mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = open_database(_database(args) or embedded(Path(args.data)))
    with engine.begin() as connection:
        token = make_token(connection, args.new_token, filter(None, args.scopes.split(",")))
    engine.dispose()
    print(token)
    print("this token is shown once; keep it where only its user can read it", file=sys.stderr)
    return 0


def _keep_or_bring_back(args: argparse.Namespace) -> int:
    from echobank.serve.backup import make_backup, restore_backup

    banks, folder = Path(args.banks), Path(args.data)
    if args.backup is not None and args.restore is not None:
        raise ConfigError("give one of --backup and --restore")
    if args.backup is not None:
        manifest = make_backup(banks, folder, args.database, Path(args.backup))
        print(f"wrote {args.backup} ({manifest.kind}, {manifest.clips} clips)")
    else:
        manifest = restore_backup(Path(args.restore), banks, folder, args.database)
        print(f"restored the backup of {manifest.made} ({manifest.kind}, {manifest.clips} clips)")
    return 0


def _say(service: "Service", host: str, port: int, scheme: str) -> None:
    for machine in service.machines.values():
        for notice in machine.in_force.notices:
            print(notice, file=sys.stderr)
    shown = f"[{host}]" if ":" in host else host
    print(f"serving {', '.join(service.machines)} on {scheme}://{shown}:{port}", file=sys.stderr)


def require_libraries(command: str, libraries: Sequence[str]) -> None:
    """Check that the libraries of the service are installed.

    Raises:
        ConfigError: One is not.
    """
    from importlib.util import find_spec

    missing = [name for name in libraries if not find_spec(name)]
    if missing:
        hint = "pip install 'echobank[serve]'"
        raise ConfigError(f"{command} needs a library that is not installed", value=missing[0], hint=hint)
