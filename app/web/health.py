"""The probes: is it well, is it alive, can it serve."""

from typing import Any

from flask import Blueprint, Response

from app.domain.health import Component, Status as Health
from app.web.api.shapes import moment, reply
from app.web.wiring import services

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def health() -> Response:
    """Tell how well each component is; 503 only when the whole has failed."""
    report = services().health()
    body = {
        "status": report.status.value,
        "version": services().version,
        "role": report.role,
        "components": {one.name: _component(one) for one in report.components},
    }
    return reply(body, status=503 if report.status is Health.FAILED else 200)


@blueprint.get("/health/live")
def live() -> Response:
    """Tell that the process answers; asks nothing else, so that a slow database kills no one."""
    return reply({"status": "alive"})


@blueprint.get("/health/ready")
def ready() -> Response:
    """Tell whether requests can be served."""
    is_ready, reason = services().ready()
    return reply({"ready": is_ready, "reason": reason}, status=200 if is_ready else 503)


def _component(one: Component) -> dict[str, Any]:
    return {"status": one.status.value, "reason": one.reason, "since": moment(one.since)}
