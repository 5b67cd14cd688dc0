"""Who may come in, and what every answer carries."""

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.settings.types import Server, Settings
from tests.integration.web.conftest import FakeServices

POLL = "/api/v1/repositories/acme/site/poll"


def client_listening(services: FakeServices, server: Server) -> FlaskClient:
    return create_app(Settings(server=server), services).test_client()


@pytest.mark.parametrize("path", ["/", "/api/v1/events", "/health", "/nothing", "/api/nothing"])
def test_every_answer_carries_an_id_and_safe_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers

    assert headers["X-Request-Id"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    )


def test_a_sane_request_id_is_kept_and_another_is_replaced(client: FlaskClient) -> None:
    def answered(given: str) -> str:
        return client.get("/health/live", headers={"X-Request-Id": given}).headers["X-Request-Id"]

    assert answered("build-42:deploy_1.0") == "build-42:deploy_1.0"
    for strange in ("a b", "<script>", "x" * 65, ""):
        assert answered(strange) not in {strange, ""}
    assert answered("") != answered("")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.com"},
        {"Origin": "http://localhost:9999"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost@evil.example.com"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    ],
)
@pytest.mark.parametrize("path", [POLL, "/repositories/acme/site/pause"])
def test_another_sites_page_cannot_change_anything(
    client: FlaskClient, services: FakeServices, path: str, headers: dict[str, str]
) -> None:
    response = client.post(path, headers=headers)

    assert response.status_code == 403
    assert services.done == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://127.0.0.1:8080", "Host": "127.0.0.1:8080"},
        {"Origin": "https://127.0.0.1:8080", "Host": "127.0.0.1:8080"},
    ],
)
def test_our_own_pages_and_programs_can_change_things(
    client: FlaskClient, services: FakeServices, headers: dict[str, str]
) -> None:
    response = client.post(POLL, headers=headers)

    assert response.status_code == 202
    assert services.done == [("wake", "acme/site")]


def test_pages_behind_a_proxy_can_change_things(services: FakeServices) -> None:
    server = Server(host="0.0.0.0", public_url="https://sentry.example.com")  # noqa: S104 - nothing listens
    client = client_listening(services, server)

    own = client.post(
        POLL, headers={"Host": "10.0.0.7:8080", "Origin": "https://sentry.example.com"}
    )
    other = client.post(POLL, headers={"Host": "10.0.0.7:8080", "Origin": "https://example.com"})

    assert (own.status_code, other.status_code) == (202, 403)


@pytest.mark.parametrize(
    "host", ["evil.example.com", "evil.example.com:8080", "localhost.evil.com"]
)
@pytest.mark.parametrize("path", ["/", "/api/v1/events", "/health"])
def test_a_name_that_was_made_to_point_at_loopback_is_not_answered(
    client: FlaskClient, host: str, path: str
) -> None:
    assert client.get(path, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:99", "127.0.0.1:8080", "[::1]:8080", "sentry.example.com"]
)
def test_the_servers_own_names_are_answered(services: FakeServices, host: str) -> None:
    client = client_listening(services, Server(public_url="https://sentry.example.com/"))

    assert client.get("/health", headers={"Host": host}).status_code == 200


def test_a_server_that_listens_beyond_loopback_answers_to_any_name(
    services: FakeServices,
) -> None:
    client = client_listening(services, Server(host="0.0.0.0"))  # noqa: S104 - nothing listens

    assert client.get("/health", headers={"Host": "sentry.ci.svc:8080"}).status_code == 200


def test_a_request_from_another_machine_is_refused_where_only_loopback_is_served(
    services: FakeServices,
) -> None:
    def answer(server: Server, sender: str) -> int:
        client = client_listening(services, server)
        return client.get("/api/v1/events", environ_base={"REMOTE_ADDR": sender}).status_code

    assert answer(Server(), "192.0.2.7") == 403
    assert answer(Server(), "127.0.0.1") == 200
    assert answer(Server(), "::1") == 200
    assert answer(Server(trusted_proxy="127.0.0.1"), "192.0.2.7") == 200
    assert answer(Server(host="0.0.0.0"), "192.0.2.7") == 200  # noqa: S104 - not bound
