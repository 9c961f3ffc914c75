"""The service's database as the source of a trend: rows of a machine, read and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, select
from sqlalchemy.exc import DBAPIError

from echobank.errors import InputError
from echobank.machines.checkup.history import History, history_of
from echobank.serve.database import address_of
from echobank.serve.schema import SCHEMA, events, hours, machines, minutes, windows

_TABLES = {"windows": (windows, "heard"), "minutes": (minutes, "begins"), "hours": (hours, "begins")}


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """Open a connection to the database of a service, which is not migrated and not written.

    Raises:
        ConfigError: Not the address of such a database.
        InputError: It cannot be reached, or has another schema.
    """
    address = address_of(url)
    engine = create_engine(address)
    where = address.render_as_string(hide_password=True)
    try:
        with engine.connect() as connection:
            present = MigrationContext.configure(connection).get_current_revision()
            if present != SCHEMA:
                hint = "start `echobank serve` on it once with this version"
                raise InputError("not a database of this version of the service", value=present, where=where, hint=hint)
            yield connection
    except DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        raise InputError(f"the database cannot be read ({reason})", where=where) from error
    finally:
        engine.dispose()


def rows_of(connection: Connection, machine: str, step: str, since: int = 0, until: int = 1 << 53) -> Iterator[Any]:
    """Yield the rows of a machine as mappings, the oldest first.

    Args:
        connection: Where.
        machine: Its name.
        step: windows, minutes or hours.
        since: From when, milliseconds since 1970 ...
        until: ... to before when.

    Raises:
        InputError: The service has no machine of this name.
    """
    table, when = _TABLES[step]
    wanted = [column for column in table.c if column.name != "machine"]
    here = (table.c.machine == machine_number(connection, machine), table.c[when] >= since, table.c[when] < until)
    query = select(*wanted).where(*here).order_by(table.c[when]).execution_options(yield_per=10_000)
    for row in connection.execute(query):
        yield row._mapping


def history_from(connection: Connection, machine: str) -> History:
    """Return the history of a machine; without facts of the sound, which no table has.

    Raises:
        InputError: The service has no machine of this name.
    """
    return history_of(rows_of(connection, machine, "hours"), rows_of(connection, machine, "windows"))


def events_of(connection: Connection, machine: str) -> list[Any]:
    """Return the events of a machine as mappings, the oldest first.

    Raises:
        InputError: The service has no machine of this name.
    """
    number = machine_number(connection, machine)
    query = select(events).where(events.c.machine == number).order_by(events.c.opened)
    return [row._mapping for row in connection.execute(query)]


def machine_number(connection: Connection, machine: str) -> int:
    """Return the number of a machine.

    Raises:
        InputError: The service has no machine of this name.
    """
    number = connection.execute(select(machines.c.id).where(machines.c.name == machine)).scalar()
    if number is None:
        names = ", ".join(sorted(connection.execute(select(machines.c.name).limit(12)).scalars()))
        raise InputError("the service has no machine of this name", value=machine, hint=f"it has {names or 'none'}")
    return int(number)
