"""The forges: what each grants, what is asked of it, and how its webhooks compare with polling."""

from flask import Blueprint, Response, request

from app.web.api import schemas, shapes
from app.web.wiring import services

blueprint = Blueprint("forges", __name__, url_prefix="/forges")


@blueprint.get("")
def index() -> Response:
    """List the forges by name; there are few, so that one page holds them all."""
    schemas.read_nothing(request.args)
    status = services().status
    items = [shapes.forge(one, status.now()) for one in status.forges()]
    return shapes.reply({"items": items, "next": None})


@blueprint.get("/<name>")
def show(name: str) -> Response:
    """Tell how one forge fares."""
    schemas.read_nothing(request.args)
    status = services().status
    return shapes.reply(shapes.forge(status.forge(name), status.now()))
