"""The program itself: how everything fares, which version it is."""

from flask import Blueprint, Response, request

from app.web.api import schemas, shapes
from app.web.wiring import services

blueprint = Blueprint("system", __name__)


@blueprint.get("/status")
def status() -> Response:
    """Tell everything at once."""
    schemas.read_nothing(request.args)
    health = services().health()
    overview = services().status.overview(health.components)
    body = {"health": health.status.value, "role": health.role, **shapes.overview(overview)}
    return shapes.reply({"version": services().version, **body})


@blueprint.get("/version")
def version() -> Response:
    """Tell which version this is."""
    schemas.read_nothing(request.args)
    return shapes.reply({"name": "reposentry", "version": services().version, "api": "v1"})
