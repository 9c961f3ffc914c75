import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from echobank.errors import ConfigError, InputError
from echobank.serve.database import open_database
from echobank.serve.schema import SCHEMA, metadata


def test_the_migrations_make_the_schema(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == SCHEMA


def test_a_database_is_opened_again(engine, url):
    again = open_database(url)
    assert set(metadata.tables) <= set(inspect(again).get_table_names())
    again.dispose()


def test_a_newer_schema_is_refused_and_left_alone(engine, url):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InputError, match=r"newer version of echobank.*'9999'.*update echobank"):
        open_database(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"


@pytest.mark.parametrize("url", ["mysql://host/name", "oracle://x", "no address", "", "sqlite+aiosqlite:///x"])
def test_other_databases_are_refused(url):
    with pytest.raises(ConfigError, match="postgresql://USER@HOST/NAME"):
        open_database(url)


def test_a_database_that_does_not_answer_is_one_line_without_the_password():
    with pytest.raises(InputError, match="the database cannot be used") as caught:
        open_database("postgresql://me:secret@127.0.0.1:1/name")
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "x.db").write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match="the database cannot be used"):
        open_database(f"sqlite:///{tmp_path / 'x.db'}")
