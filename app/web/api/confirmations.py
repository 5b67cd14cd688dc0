"""Tekton's word that a delivery had its effect; the address itself is what opens this door."""

import json
import logging
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest

from app.domain import confirmation
from app.domain.errors import NotFound
from app.web.api import shapes
from app.web.wiring import services

log = logging.getLogger(__name__)

blueprint = Blueprint("confirmations", __name__, url_prefix="/confirmations")

# It echoes the headers of one request, of which servers take 8 to 64 KiB.
LARGEST_BODY = 64 * 1024
STRUCTURED = "application/cloudevents+json"


@blueprint.post("/<receiver>/<key>")
def confirm(receiver: str, key: str) -> Response:
    """Take a CloudEvent about one of our deliveries; what it does not say is no error.

    What it carries is never logged: it echoes signatures and tokens.
    """
    if not services().may_confirm(receiver, key):
        raise NotFound("There is nothing at this address.")
    request.max_content_length = LARGEST_BODY
    kind, data = _read_event(request.get_data())
    delivery_id = confirmation.delivery_named(data) if confirmation.is_success(kind) else None
    is_known = delivery_id is not None and services().confirm_delivery(receiver, delivery_id)
    log.debug(
        "confirmation received",
        extra={"receiver": receiver, "delivery": delivery_id, "known": is_known},
    )
    return shapes.reply({"confirmed": is_known}, status=202)


def _read_event(body: bytes) -> tuple[str, Any]:
    """Return a CloudEvent's type and data, in whichever of the two modes it comes."""
    try:
        told = json.loads(body) if body.strip() else None
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not valid JSON.") from error
    if request.mimetype == STRUCTURED:
        envelope = told if isinstance(told, dict) else {}
        kind, data = envelope.get("type"), envelope.get("data")
    else:
        kind, data = request.headers.get("Ce-Type"), told
    if not isinstance(kind, str) or not kind:
        raise BadRequest("A CloudEvent says its type.")
    return kind, data
