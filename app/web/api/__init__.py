"""The API: plain resources under ``/api/v1``, problems as RFC 9457 has them.

Lists are ``{"items": […], "next": cursor or null}``; moments are RFC 3339 in UTC.

To add a resource: a module here with a ``blueprint``, one line below, its input in ``schemas``.
"""

from flask import Blueprint, Flask

from app.web.api import (
    confirmations,
    deliveries,
    events,
    forges,
    hooks,
    receivers,
    repositories,
    storms,
    system,
)

PREFIX = "/api/v1"
RESOURCES = (
    repositories,
    events,
    deliveries,
    storms,
    receivers,
    forges,
    confirmations,
    hooks,
    system,
)


def register(app: Flask) -> None:
    """Give an application the API's routes."""
    api = Blueprint("api", __name__, url_prefix=PREFIX)
    for resource in RESOURCES:
        api.register_blueprint(resource.blueprint)
    app.register_blueprint(api)
