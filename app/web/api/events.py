"""The recorded changes, and sending one again."""

from flask import Blueprint, Response, request, url_for

from app.web.api import schemas, shapes
from app.web.api.body import read_body
from app.web.wiring import services

blueprint = Blueprint("events", __name__, url_prefix="/events")


@blueprint.get("")
def index() -> Response:
    """List events, newest first."""
    query = schemas.read_events_query(request.args)
    return shapes.reply_page(services().status.events(**query), shapes.event)


@blueprint.get("/<event_id>")
def show(event_id: str) -> Response:
    """Tell one event with its deliveries and their attempts."""
    schemas.read_nothing(request.args)
    return shapes.reply(shapes.event_detail(services().status.event(event_id)))


@blueprint.post("/<event_id>/redeliver")
def redeliver(event_id: str) -> Response:
    """Owe an event again, to the receivers named or to all it was owed to."""
    schemas.read_nothing(request.args)
    receivers = schemas.read_redeliver(read_body())
    made = services().redeliver(event_id, receivers)
    headers = {"Location": url_for(".show", event_id=event_id)}
    return shapes.reply({"deliveries": made}, status=202, headers=headers)
