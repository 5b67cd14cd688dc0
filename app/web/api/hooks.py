"""The forges' own webhooks: a hint to look at a repository; the signature opens this door."""

import logging
import threading
from contextlib import nullcontext

from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, Unauthorized, UnsupportedMediaType

from app.domain.errors import NotFound
from app.services.hook_intake import Outcome, Reception
from app.web.api import shapes
from app.web.wiring import services

log = logging.getLogger(__name__)

blueprint = Blueprint("hooks", __name__, url_prefix="/hooks")

# As much as GitHub sends: «payloads are capped at 25 MB».
LARGEST_HOOK = 25 * 1024 * 1024
# Few are as large as this, and those are held in memory one at a time.
LARGE = 1024 * 1024
_one_at_a_time = threading.Lock()

FORM = "application/x-www-form-urlencoded"


@blueprint.post("/<forge>")
def take(forge: str) -> Response:
    """Take a forge's webhook; whatever it tells is polled for and not believed."""
    if not services().takes_hooks(forge):
        raise NotFound("There is nothing at this address.")
    request.max_content_length = LARGEST_HOOK
    if not request.is_json and request.mimetype != FORM:
        raise UnsupportedMediaType("A webhook is application/json, or a form that holds it.")
    is_large = (request.content_length or 0) > LARGE
    with _one_at_a_time if is_large else nullcontext():
        reception = services().receive_hook(
            forge,
            {name.lower(): value for name, value in request.headers.items()},
            request.get_data(cache=False),
        )
    log.debug("webhook received", extra={"forge": forge, "outcome": reception.outcome.value})
    return _answer(reception)


def _answer(reception: Reception) -> Response:
    if reception.outcome is Outcome.FORGED:
        raise Unauthorized(f"This webhook is not taken: {reception.note}.")
    if reception.outcome is Outcome.UNREADABLE:
        raise BadRequest(f"This webhook cannot be read: {reception.note}.")
    body = {
        "outcome": reception.outcome.value,
        "note": reception.note,
        "repositories": list(reception.repositories),
    }
    return shapes.reply(body, status=200 if reception.outcome is Outcome.PING else 202)
