"""The database: SQLite in the folder of the service, or PostgreSQL; migrated at the start, refused when it is newer."""

from pathlib import Path
from typing import Any

from alembic.command import upgrade
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from echobank.errors import ConfigError, InputError
from echobank.serve.schema import SCHEMA

_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgresql+psycopg": "postgresql+psycopg"}
_LOCKED_SECONDS = 30
_POSTGRESQL: dict[str, Any] = {
    "pool_pre_ping": True,
    "connect_args": {"prepare_threshold": None},  # a plan made while the tables were empty would be kept, and slow
}
_MIGRATING = 0x6563686F  # number of the advisory lock; two services that start together migrate one after the other


def open_database(url: str) -> Engine:
    """Open a database and bring its schema up to date.

    Args:
        url: `sqlite:///path`, or `postgresql://user@host/name`.

    Raises:
        ConfigError: Another kind of database, or an impossible address.
        InputError: It cannot be reached, or a newer version of the program made its schema.
    """
    try:
        address = address_of(url)
        options = {} if address.drivername == "sqlite" else _POSTGRESQL
        engine = create_engine(address, **options)
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError("not the address of a database", hint=_HINT) from error
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    else:
        engine.dialect.use_insertmanyvalues_wo_returning = True  # many rows in one statement; SQLite has no need of it
    where = address.render_as_string(hide_password=True)
    try:
        with engine.begin() as connection:
            migrate(connection, where)
    except DBAPIError as error:
        engine.dispose()
        reason = " ".join(str(error.orig).split())
        raise InputError(f"the database cannot be used ({reason})", where=where) from error
    except InputError:
        engine.dispose()
        raise
    return engine


def with_password(url: str, password: str) -> str:
    """Return the address of a database with another password.

    Raises:
        ConfigError: An impossible address.
    """
    try:
        return make_url(url).set(password=password).render_as_string(hide_password=False)
    except ArgumentError as error:
        raise ConfigError("not the address of a database", hint=_HINT) from error


def embedded(folder: Path) -> str:
    """Return the address of the SQLite database in a folder."""
    return f"sqlite:///{folder / 'echobank.db'}"


def address_of(url: str) -> URL:
    """Return the address of a database with its driver.

    Raises:
        ConfigError: Another kind of database, or an impossible address.
    """
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise ConfigError("not the address of a database", hint=_HINT) from error
    if address.drivername not in _DRIVERS:
        raise ConfigError("not a database of this service", value=address.drivername, hint=_HINT)
    return address.set(drivername=_DRIVERS[address.drivername])


def migrate(connection: Connection, where: str, schema: str = SCHEMA) -> None:
    """Bring the schema of a database up to a revision.

    Args:
        connection: Where.
        where: What the database is called in messages.
        schema: The revision.

    Raises:
        InputError: A newer version of the program made it.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
    present = MigrationContext.configure(connection).get_current_revision()
    if present == schema:
        return
    if present is not None and present > SCHEMA:
        raise InputError(
            "a newer version of echobank made this database", value=present, where=where, hint="update echobank"
        )
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    upgrade(config, schema)


def _prepare_sqlite(engine: Engine) -> None:
    """Have SQLite write ahead, wait for locks, hold foreign keys, and begin transactions when it is asked to."""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN leaves changes of the schema outside
        connection.execute(f"PRAGMA busy_timeout = {1000 * _LOCKED_SECONDS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")


_HINT = "write sqlite:///FILE or postgresql://USER@HOST/NAME"
