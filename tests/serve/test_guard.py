import re

import pytest

from echobank.serve import app
from echobank.serve.access import SCOPES, make_token
from echobank.serve.guarded import OPEN, GuardedRoute
from tests.serve.serving import served, sound


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def routes(client, headers):
    """Yield (method, path, scope) of every route of the OpenAPI document."""
    document = client.get("/openapi.json", headers=headers).json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield (
                method.upper(),
                re.sub(r"\{number\}", "999999", re.sub(r"\{(?!number)\w+\}", "x", path)),
                operation["x-scope"],
            )


@pytest.fixture
def locked(settings):
    """Return (client, service, token per scope) of a service that wants tokens."""
    with served(settings, required=True) as (client, service):
        made = {
            scope: service.writer.run(lambda connection, scope=scope: make_token(connection, scope, [scope]))
            for scope in SCOPES
        }
        yield client, service, made


def test_every_route_asks_for_its_scope(locked):
    client, _, made = locked
    walked = list(routes(client, bearer(made["read"])))
    assert len(walked) > 20
    for method, path, scope in walked:
        without = client.request(method, path)
        if scope == "open":
            assert (method, path) in {("GET", "/healthz"), ("POST", "/api/login")}
            continue
        assert without.status_code == 401, (method, path)
        assert client.request(method, path, headers=bearer("wrong")).status_code in (401, 429), (method, path)
        for other in set(SCOPES) - {scope, "admin"}:
            if path != "/api/stream":
                assert client.request(method, path, headers=bearer(made[other])).status_code == 403, (method, path)
        if path != "/api/stream":
            assert client.request(method, path, headers=bearer(made[scope])).status_code not in (401, 403, 429, 500)
    assert {scope for _, _, scope in walked} == {*SCOPES, "open"}


def test_no_route_is_without_a_guard_and_few_are_open():
    found = [route for module in app._ROUTES for route in module.router.routes]
    assert len(found) > 30 and all(isinstance(route, GuardedRoute) for route in found)
    open_to_all = {route.path for route in found if route.openapi_extra["x-scope"] == OPEN}
    assert open_to_all == {"/healthz", "/api/login", "/", "/docs", "/page/{name:path}"}  # the page's own files


def test_a_login_is_a_cookie_that_ends(locked):
    client, _, made = locked
    assert client.post("/api/login", json={"token": "wrong"}).status_code == 401
    answer = client.post("/api/login", json={"token": made["read"]})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and made["read"].lower() not in cookie
    assert client.get("/api/machines").status_code == 200
    assert client.get("/api/tokens").status_code == 403
    assert client.post("/api/logout").status_code == 200
    client.cookies.set("echobank", answer.cookies["echobank"])
    assert client.get("/api/machines").status_code == 401


def test_tokens_are_kept_as_hashes_and_can_be_withdrawn(locked, settings):
    client, service, made = locked
    new = client.post("/api/tokens", json={"name": "ada", "scopes": ["read"]}, headers=bearer(made["admin"])).json()
    assert len(new["token"]) >= 46  # 256 bits
    with service.engine.connect() as connection:
        kept = str(connection.exec_driver_sql("SELECT * FROM tokens").all())
    assert new["token"] not in kept and made["admin"] not in kept
    (number,) = (
        it["id"] for it in client.get("/api/tokens", headers=bearer(made["admin"])).json() if it["name"] == "ada"
    )
    assert client.get("/api/machines", headers=bearer(new["token"])).status_code == 200
    assert client.delete(f"/api/tokens/{number}", headers=bearer(made["admin"])).status_code == 200
    assert client.get("/api/machines", headers=bearer(new["token"])).status_code == 401
    bad = client.post("/api/tokens", json={"name": "x", "scopes": ["root"]}, headers=bearer(made["admin"]))
    assert bad.status_code == 400


def test_guessing_is_slowed_down(locked):
    client, _, made = locked
    codes = [client.get("/api/machines", headers=bearer(f"guess{i}")).status_code for i in range(12)]
    assert codes == [401] * 10 + [429] * 2
    assert client.get("/api/machines", headers=bearer(made["read"])).status_code == 200
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "192.168.0.7"}, 421),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:8080"}, 200),
    ],
)
def test_the_name_of_the_service_is_checked(service, headers, status):
    client, _ = service
    assert client.get("/api/machines", headers=headers).status_code == status


def test_requests_of_other_sites_change_nothing(service):
    client, _ = service
    url = "/api/machines/pump/pause"
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post(url, json={"seconds": 9}, headers=headers).status_code == 403
    own = str(client.base_url).rstrip("/")
    assert client.post(url, json={"seconds": 9}, headers={"Origin": own}).status_code == 200


def test_every_answer_has_its_headers(service):
    client, _ = service
    for answer in (client.get("/healthz"), client.get("/none"), client.post("/api/machines/x/recordings", content=b"")):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


def test_a_token_turns_tokens_on(service):
    client, _ = service
    assert client.get("/api/machines").status_code == 200
    assert client.post("/api/tokens", json={"name": "first", "scopes": ["admin"]}).status_code == 200
    assert client.get("/api/machines").status_code == 401
    assert client.post("/api/machines/pump/recordings", content=sound()).status_code == 401
