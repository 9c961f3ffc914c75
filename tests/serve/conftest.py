import uuid

import pytest

from tests.machines.conftest import bank, fitted, offline
from tests.serve.postgresql import server
from tests.watch.conftest import place

__all__ = ["bank", "fitted", "offline", "place"]


@pytest.fixture(scope="session")
def postgresql():
    with server() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Return the address of an empty database, of either kind."""
    return f"sqlite:///{tmp_path / 'echobank.db'}" if request.param == "sqlite" else database_of(request)


def database_of(request):
    """Return the address of an empty database of PostgreSQL."""
    import psycopg

    address, name = request.getfixturevalue("postgresql"), f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{address}/{name}"


@pytest.fixture
def engine(url):
    from echobank.serve.database import open_database

    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def writer(engine):
    from echobank.serve.writer import Writer

    writer = Writer(engine)
    yield writer
    writer.close()


@pytest.fixture
def settings(url, bank, tmp_path):
    from echobank.serve.premises import ServiceSettings

    return ServiceSettings(banks=bank.parent, folder=tmp_path / "data", database=url, k=2, n=3)


@pytest.fixture
def service(settings):
    """Return (client, service) of a service that runs."""
    from tests.serve.serving import served

    with served(settings) as both:
        yield both
