"""Copies of a database in files: one file of SQLite, or one per table of PostgreSQL, as of one moment."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, func, select, text
from sqlalchemy.exc import DBAPIError

from echobank.errors import InputError
from echobank.serve.database import address_of, migrate, open_database
from echobank.serve.schema import machines, metadata

SQLITE = "echobank.db"


@dataclass
class DatabaseCopy:
    """A copy of a database.

    Attributes:
        kind: `sqlite` or `postgresql`.
        schema: Revision of its schema.
        files: The files.
        clips: Files of the clips that it names.
        tables: Columns of each table, for PostgreSQL.
    """

    kind: str
    schema: str
    files: list[Path]
    clips: list[str]
    tables: dict[str, list[str]] = field(default_factory=dict)

    def forget(self, kept: list[str]) -> None:
        """Take clips out that were removed while the others were copied."""
        gone = sorted(set(self.clips) - set(kept))
        if not gone:
            return
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self.files[0])) as connection, connection:
                connection.executemany("DELETE FROM clips WHERE file = ?", [(name,) for name in gone])
            return
        place = self.tables["clips"].index("file")
        file = next(file for file in self.files if file.name == "clips")
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(
            b"".join(line for line in lines if line.rstrip(b"\n").split(b"\t")[place].decode() not in gone)
        )


def copy_database(address: str, scratch: Path) -> DatabaseCopy:
    """Return a copy of a database as of one moment; the service may be using it.

    Args:
        address: The database.
        scratch: Folder for the files.

    Raises:
        InputError: It cannot be read.
    """
    url = address_of(address)
    if url.get_backend_name() == "postgresql":
        return _copy_tables(create_engine(url), scratch)
    source, target = Path(url.database or ""), scratch / SQLITE
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=rw", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)  # in one step: of several, each change by the service would begin it again
            new.execute("PRAGMA journal_mode = DELETE")
            (schema,) = new.execute("SELECT version_num FROM alembic_version").fetchone()
            clips = [name for (name,) in new.execute("SELECT file FROM clips")]
    except sqlite3.Error as error:
        raise InputError(f"the database cannot be copied ({error})", where=source) from error
    return DatabaseCopy("sqlite", schema, [target], clips)


def _copy_tables(engine: Engine, scratch: Path) -> DatabaseCopy:
    with _reached(engine), engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        schema = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
        clips = list(connection.execute(text("SELECT file FROM clips")).scalars())
        copy, driver = DatabaseCopy("postgresql", schema, [], clips), _driver_of(connection)
        for table in metadata.sorted_tables:
            copy.tables[table.name] = [column.name for column in table.columns]
            file = scratch / table.name
            out = f"COPY {table.name} ({_names(copy.tables[table.name])}) TO STDOUT"
            with driver.cursor() as cursor, cursor.copy(out) as rows, file.open("wb") as stream:
                for block in rows:
                    stream.write(block)
            copy.files.append(file)
        return copy


def load_tables(database: str, schema: str, columns: Mapping[str, list[str]], files: Path) -> None:
    """Fill an empty database of PostgreSQL, and bring its schema up to date.

    Args:
        database: Its address.
        schema: Revision of the schema that the files have.
        columns: Columns of each table.
        files: Folder of the files.

    Raises:
        InputError: It is not empty, or cannot be reached.
    """
    engine = create_engine(address_of(database))
    with _reached(engine), engine.begin() as connection:
        migrate(connection, "the database of the backup", schema)
        if connection.execute(select(func.count()).select_from(machines)).scalar():
            raise InputError("the database is not empty", hint="make a new one: createdb NAME")
        for table in metadata.sorted_tables:
            if table.name in columns:
                _fill(connection, table, columns[table.name], files / table.name)
    engine.dispose()
    open_database(database).dispose()


def _fill(connection: Connection, table: Table, columns: list[str], file: Path) -> None:
    """Bring back the rows of a table, and have it count on from there."""
    into = f"COPY {table.name} ({_names(columns)}) FROM STDIN"
    with _driver_of(connection).cursor() as cursor, cursor.copy(into) as rows, file.open("rb") as stream:
        while block := stream.read(1 << 20):
            rows.write(block)
    serial = "sequence" if "sequence" in table.c else "id" if "id" in table.c else ""
    if serial and table.c[serial].type.python_type is int:
        newest = f"(SELECT COALESCE(MAX({serial}), 0) + 1 FROM {table.name})"
        counter = f"pg_get_serial_sequence('{table.name}', '{serial}')"
        connection.execute(text(f"SELECT setval({counter}, {newest}, false)"))


def _names(columns: list[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _driver_of(connection: Connection) -> Any:
    return connection.connection.driver_connection


@contextmanager
def _reached(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        where = engine.url.render_as_string(hide_password=True)
        raise InputError(f"the database cannot be used ({' '.join(str(error.orig).split())})", where=where) from error
