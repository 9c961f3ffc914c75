import asyncio
import json
import socket

import httpx
from sqlalchemy import func, select

from echobank.serve.app import LOOPBACK, make_app
from echobank.serve.guard import Guard
from echobank.serve.schema import receipts

ODD = {"file": "a.wav", "score": 3.0, "p_value": 0.01, "decision": 1}
JSON = {"content-type": "application/json"}


def text(**more):
    return json.dumps({"threshold": 2.0, "heard": "2026-01-01T00:00:00Z", "verdicts": [ODD], **more}).encode()


SENT = {
    "in order": ("mill 3", text(), JSON),
    "with a key": ("mill", text(), JSON | {"idempotency-key": "k"}),
    "an impossible key": ("mill", text(), JSON | {"idempotency-key": "a b"}),
    "an impossible time": ("mill", text(heard="yesterday"), JSON),
    "no threshold and no bank": ("nobody", text(threshold=None), JSON),
    "the threshold of the bank": ("pump", text(threshold=None), JSON),
    "numbers as text": ("mill", text(threshold="2.0"), JSON),
    "no number": ("mill", text(threshold="two"), JSON),
    "not finite": ("mill", b'{"threshold": NaN, "verdicts": [{"file": "a", "score": Infinity}]}', JSON),
    "no verdicts": ("mill", text(verdicts=[]), JSON),
    "a p-value of 2": ("mill", text(verdicts=[ODD | {"p_value": 2}]), JSON),
    "keys that nobody knows": ("mill", text(colour="red"), JSON),
    "no JSON": ("mill", b"{", JSON),
    "nothing": ("mill", b"", JSON),
    "a list": ("mill", b"[]", JSON),
    "another type": ("mill", text(), {"content-type": "text/plain"}),
    "no type": ("mill", text(), {}),
    "half a surrogate pair": ("mill", rb'{"threshold": 2, "verdicts": [{"file": "\ud800", "score": 1}]}', JSON),
    "a zero byte": ("mill", rb'{"threshold": 2, "verdicts": [{"file": "\u0000", "score": 1}]}', JSON),
    "not UTF-8": ("mill", b'{"threshold": 2, "verdicts": [{"file": "\xff", "score": 1}]}', JSON),
    "a long name": ("m" * 201, text(), JSON),
    "too much": ("mill", b" " * (1 << 20) + text(), JSON),
}


def test_an_answer_is_that_of_the_application(service):
    client, running = service
    short, statuses = {}, set()
    for case, (machine, body, headers) in SENT.items():
        answer = client.post(f"/api/machines/{machine}/verdicts", content=body, headers=headers)
        short[case] = (answer.status_code, answer.json())
        statuses.add(answer.status_code)
    assert short == asyncio.run(the_long_way(running))
    assert statuses == {200, 400, 404, 413, 422}
    stored = {(body["machine"], body["key"]) for status, body in short.values() if status == 200}
    with running.engine.connect() as connection:  # once, though each came by both ways
        assert len(stored) > 3
        assert connection.execute(select(func.count()).select_from(receipts)).scalar() == len(stored)


async def the_long_way(running):
    """Return the answers of the application itself, inside a guard and nothing else."""
    app = Guard(make_app(running), LOOPBACK, False, lambda _: 1 << 20)
    found = {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for case, (machine, body, headers) in SENT.items():
            answer = await client.post(f"/api/machines/{machine}/verdicts", content=body, headers=headers)
            found[case] = (answer.status_code, answer.json())
    return found


def test_a_client_that_goes_away_while_it_sends_leaves_nothing(service):
    client, running = service
    where = (client.base_url.host, client.base_url.port)
    head = b"POST /api/machines/mill/verdicts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(where) as sender:
        sender.sendall(head + b"Content-Length: 1000\r\n\r\n" + SENT["in order"][1][:20])
    assert client.post("/api/machines/mill/verdicts", content=SENT["in order"][1], headers=JSON).status_code == 200
    with running.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(receipts)).scalar() == 1
