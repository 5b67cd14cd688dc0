"""What people and programs see: pages, the API, and the probes.

A view parses what it was asked, calls one service, and renders. What the services are stands in
``wiring``; who may come in and what every answer carries stands in ``guard``.

To add a page: a module in ``pages`` with its template, one line in ``pages.register``. To add an
API resource: a module in ``api``, one line in ``api.register``, its input in ``api.schemas``.
"""

from flask import Flask

from app.settings.types import Settings
from app.web import api, errors, guard, health, pages, wiring

# Bytes; the API takes small JSON documents, and what takes more says so itself.
LARGEST_BODY = 1024 * 1024


def install(app: Flask, settings: Settings, services: wiring.Services) -> None:
    """Give an application its routes, its checks and its services."""
    # A repository's name may hold what looks like an empty path segment; it is not to be mended.
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's default provider has it
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    wiring.attach(app, services)
    guard.install(app, settings.server)
    errors.install(app)
    app.register_blueprint(health.blueprint)
    api.register(app)
    pages.register(app, settings)
