"""Storms: more changes in one poll than go out unasked, held until a person decides."""

from flask import Blueprint, Response, request

from app.web.api import schemas, shapes
from app.web.api.body import read_body
from app.web.wiring import services

blueprint = Blueprint("storms", __name__, url_prefix="/storms")


@blueprint.get("")
def index() -> Response:
    """List the storms, newest first; there are few, so that one page holds them all."""
    state = schemas.read_storms_query(request.args)
    found = services().status.storms(state)
    return shapes.reply({"items": [shapes.storm(one) for one in found], "next": None})


@blueprint.get("/<hold_id>")
def show(hold_id: str) -> Response:
    """Tell one storm."""
    schemas.read_nothing(request.args)
    return shapes.reply(shapes.storm(services().status.storm(hold_id)))


@blueprint.post("/<hold_id>/release")
def release(hold_id: str) -> Response:
    """Send what was held back."""
    schemas.read_nothing(request.args)
    schemas.read_empty(read_body())
    services().release_storm(hold_id)
    return shapes.reply(shapes.storm(services().status.storm(hold_id)))


@blueprint.post("/<hold_id>/dismiss")
def dismiss(hold_id: str) -> Response:
    """Cancel what was held back."""
    schemas.read_nothing(request.args)
    schemas.read_empty(read_body())
    services().dismiss_storm(hold_id)
    return shapes.reply(shapes.storm(services().status.storm(hold_id)))
