"""What receivers are owed: hurrying or ending one, and sending again or ending many."""

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


@blueprint.post("/redeliver")
def redeliver_many() -> Response:
    """Owe again what is finished and matches, to the same receivers or to others instead."""
    schemas.read_nothing(request.args)
    wanted, receivers = schemas.read_redeliver_many(read_body())
    made = services().redeliver_many(services().status.chosen(**wanted), receivers)
    return shapes.reply({"redelivered": made}, status=202)


@blueprint.post("/cancel")
def cancel_many() -> Response:
    """Finish what is owed and matches, without trying it again."""
    schemas.read_nothing(request.args)
    wanted = schemas.read_cancel_many(read_body())
    ended = services().cancel_many(services().status.chosen(**wanted))
    return shapes.reply({"cancelled": ended})


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
