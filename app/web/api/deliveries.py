"""What receivers are owed, and hurrying or ending one of them."""

from flask import Blueprint, Response, request

from app.web.api import schemas, shapes
from app.web.api.body import read_body
from app.web.wiring import services

blueprint = Blueprint("deliveries", __name__, url_prefix="/deliveries")


@blueprint.get("")
def index() -> Response:
    """List deliveries, newest first."""
    query = schemas.read_deliveries_query(request.args)
    return shapes.reply_page(services().status.deliveries(**query), shapes.delivery)


@blueprint.get("/<delivery_id>")
def show(delivery_id: str) -> Response:
    """Tell one delivery with its attempts and the request it makes."""
    schemas.read_nothing(request.args)
    return shapes.reply(shapes.delivery_detail(services().status.delivery(delivery_id)))


@blueprint.post("/<delivery_id>/retry")
def retry(delivery_id: str) -> Response:
    """Try a waiting delivery now."""
    schemas.read_nothing(request.args)
    schemas.read_empty(read_body())
    services().retry_delivery(delivery_id)
    return shapes.reply(shapes.delivery_detail(services().status.delivery(delivery_id)), status=202)


@blueprint.post("/<delivery_id>/cancel")
def cancel(delivery_id: str) -> Response:
    """Finish a delivery without trying it again."""
    schemas.read_nothing(request.args)
    schemas.read_empty(read_body())
    services().cancel_delivery(delivery_id)
    return shapes.reply(shapes.delivery_detail(services().status.delivery(delivery_id)))
