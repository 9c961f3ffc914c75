"""What is asked for often reads by an index: no query goes over all windows, summaries, events or messages."""

import pytest
from sqlalchemy import event, insert

from echobank.serve.intake import enrol
from echobank.serve.schema import events, windows
from echobank.serve.thinning import WINDOWS_FOR, thin
from tests.serve.serving import sound

LARGE = ("windows", "minutes", "hours", "events", "messages", "receipts", "notes")
ASKED = [
    "/api/overview",
    "/api/machines",
    "/api/machines/pump",
    "/api/machines/pump/course?since=0",
    "/api/machines/pump/scores",
    "/api/machines/pump/scores?step=minutes&since=5&until=9",
    "/api/machines/pump/scores?step=hours",
    "/api/events",
    "/api/events?still_open=true",
    "/api/events?machine=pump",
    "/api/events/x",
    "/api/clips/x",
    "/metrics",
]


@pytest.fixture
def filled(service):
    """Return (client, service, statements) of a service with some rows, and whatever it asks its database."""
    client, running = service

    def fill(connection):
        for machine in range(1, 9):
            number = enrol(connection, f"m{machine}")
            rows = [
                {"id": f"{machine}-{i}", "machine": number, "heard": i, "received": i, "file": "a.wav", "score": 1.0}
                for i in range(400)
            ]
            connection.execute(insert(windows), rows)
            told = [{"id": f"{machine}-{i}", "machine": number, "kind": "sound", "opened": i} for i in range(200)]
            connection.execute(insert(events), [{**row, "closed": row["opened"] + 1} for row in told])

    running.writer.run(fill)
    statements = []

    @event.listens_for(running.engine, "before_cursor_execute")
    def asked(connection, cursor, statement, parameters, context, many):
        if statement.lstrip().startswith(("SELECT", "DELETE", "UPDATE")) and not many:
            statements.append((statement, parameters))

    yield client, running, statements
    event.remove(running.engine, "before_cursor_execute", asked)


def test_no_query_reads_a_large_table_from_end_to_end(filled):
    client, running, statements = filled
    for path in ASKED:
        begun = len(statements)
        assert client.get(path).status_code in (200, 404)
        assert len(statements) > begun
    running.writer.run(lambda connection: thin(connection, 3 * WINDOWS_FOR, at_once=10))
    assert any("DELETE FROM minutes" in statement for statement, _ in statements)
    with running.engine.connect() as connection:
        lite = connection.dialect.name == "sqlite"
        if not lite:  # with few rows PostgreSQL reads all of them where it may
            connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in list(statements):
            explain = "EXPLAIN QUERY PLAN" if lite else "EXPLAIN"
            for row in connection.exec_driver_sql(f"{explain} {statement}", parameters).all():
                assert not (read_whole(str(row[-1]), lite) & set(LARGE)), (statement, row)
                few = "closed IS NULL" in statement or "GROUP BY" in statement  # what is open, and sums, are sorted
                assert few or "B-TREE FOR ORDER BY" not in str(row[-1]), (statement, row)


def read_whole(line, lite):
    """Return the words of a line of a plan that reads a table from end to end."""
    whole = line.startswith("SCAN") and "USING" not in line if lite else "Seq Scan" in line
    return set(line.replace(",", " ").split()) if whole else set()


def test_the_overview_knows_the_last_window_and_what_is_open(filled):
    client, _, _ = filled
    answer = client.post("/api/machines/pump/recordings", content=sound(odd=True))
    assert answer.status_code == 200
    listed = {machine["name"]: machine for machine in client.get("/api/machines").json()}
    assert len(listed) == 9 and next(iter(listed)) == "pump"
    assert listed["pump"]["open_events"] == 1
    assert listed["pump"]["last"]["score"] == answer.json()["verdicts"][-1]["score"]
    assert listed["m3"]["last"]["file"] == "a.wav" and listed["m3"]["open_events"] == 0
    for name, machine in listed.items():
        shown = client.get(f"/api/machines/{name}").json()
        assert {key: shown[key] for key in machine} == machine
