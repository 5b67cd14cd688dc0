"""Who may come in, and what every answer carries: host and origin checks, safe headers, an id."""

import ipaddress
import re
import secrets
from urllib.parse import urlsplit

from flask import Flask, Response, g, request
from werkzeug.exceptions import BadRequest, Forbidden, MisdirectedRequest

from app.settings.types import Server

# What a caller may name its request: nothing that could break a log line or a header.
SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
READING = frozenset({"GET", "HEAD", "OPTIONS"})

# Who comes in here carries the key in the address, or has signed with it: a cluster or a forge, by
# whatever name it knows us.
OPEN_DOORS = frozenset({"api.confirmations.confirm", "api.hooks.take"})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers then send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def install(app: Flask, server: Server) -> None:
    """Check every request of the application and complete every answer."""
    hosts = _own_hosts(server)

    @app.before_request
    def check() -> None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if SANE_ID.fullmatch(given) else secrets.token_hex(8)
        if "\0" in request.path or b"%00" in request.query_string:
            # No name holds one, and PostgreSQL refuses even to be asked for it.
            raise BadRequest("A NUL character names nothing.")
        if request.endpoint in OPEN_DOORS:
            return
        if hosts is not None:
            _check_sender(server, hosts)
        if request.method not in READING:
            _check_origin(server)

    @app.after_request
    def complete(response: Response) -> Response:
        response.headers["X-Request-Id"] = request_id()
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        # What is shown is private and soon old; only files made to be kept say otherwise.
        response.headers.setdefault("Cache-Control", "no-store")
        return response


def request_id() -> str:
    """Return the id of the request that is being answered."""
    if "request_id" not in g:
        g.request_id = secrets.token_hex(8)
    return str(g.request_id)


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on can be reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("")
    (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _own_hosts(server: Server) -> frozenset[str] | None:
    """Return the names a server on loopback answers to; None where any will do.

    A page elsewhere can point its own name at 127.0.0.1 and so become «the same origin» (DNS
    rebinding); it cannot choose the Host that the browser then sends.
    """
    if not is_loopback(server.host):
        return None
    public = urlsplit(server.public_url or "").hostname
    names = {"127.0.0.1", "localhost", "::1", server.host, public}
    return frozenset(name.lower() for name in names if name)


def _check_sender(server: Server, hosts: frozenset[str]) -> None:
    if _host_of(request.host) not in hosts:
        raise MisdirectedRequest(
            "This server listens on loopback only and does not answer to that Host."
        )
    if _is_from_elsewhere(server):
        # Another WSGI server listens where it likes: waitress-serve on all addresses.
        raise Forbidden(
            "Nobody is asked for a token here, so only this machine is answered: see "
            "server.listen, server.trusted_proxy and security.tokens."
        )


def _is_from_elsewhere(server: Server) -> bool:
    """Tell whether a request came over the network itself, and not by a proxy that we trust."""
    sender = request.remote_addr or "localhost"
    return server.trusted_proxy is None and not is_loopback(sender)


def _host_of(netloc: str) -> str | None:
    try:
        return urlsplit(f"//{netloc}").hostname
    except ValueError:
        return None


def _check_origin(server: Server) -> None:
    """Refuse a change that a page of another site asks for; programs send neither header."""
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise Forbidden("Another site's page may not change anything here.")
    origin = request.headers.get("Origin")
    if origin is None:
        return
    own = {request.host.lower(), urlsplit(server.public_url or "").netloc.lower()} - {""}
    # The scheme is not compared: a proxy before us may have taken the TLS off.
    if urlsplit(origin).netloc.lower() not in own:
        raise Forbidden("Another site's page may not change anything here.")
