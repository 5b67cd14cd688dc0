"""The configured receivers: how they fare, and whether they are sent anything."""

from flask import Blueprint, Response, request

from app.web.api import schemas, shapes
from app.web.api.body import read_body
from app.web.wiring import services

blueprint = Blueprint("receivers", __name__, url_prefix="/receivers")


@blueprint.get("")
def index() -> Response:
    """List the receivers by name; there are few, so that one page holds them all."""
    schemas.read_nothing(request.args)
    found = services().status.receivers()
    return shapes.reply({"items": [shapes.receiver(one) for one in found], "next": None})


@blueprint.get("/<name>")
def show(name: str) -> Response:
    """Tell how one receiver fares."""
    schemas.read_nothing(request.args)
    return shapes.reply(shapes.receiver(services().status.receiver(name)))


@blueprint.post("/<name>/pause")
def pause(name: str) -> Response:
    """Begin no further attempt to a receiver until it is resumed."""
    schemas.read_nothing(request.args)
    schemas.read_empty(read_body())
    services().pause_receiver(name)
    return shapes.reply(shapes.receiver(services().status.receiver(name)))


@blueprint.post("/<name>/resume")
def resume(name: str) -> Response:
    """Send again to a receiver that was paused or said that it is gone."""
    schemas.read_nothing(request.args)
    schemas.read_empty(read_body())
    services().resume_receiver(name)
    return shapes.reply(shapes.receiver(services().status.receiver(name)))
