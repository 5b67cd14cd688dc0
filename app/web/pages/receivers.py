"""The receivers' page: who is told, and how well they listen."""

from flask import Response

from app.web.pages.views import blueprint, render
from app.web.wiring import services


@blueprint.get("/receivers")
def receivers() -> Response:
    """List the configured receivers by name."""
    return render("receivers.html", receivers=services().status.receivers())
