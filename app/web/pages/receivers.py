"""The receivers' page: who is told, and how well they listen."""

from flask import Response, url_for

from app.web.pages.views import back, blueprint, render
from app.web.wiring import services


@blueprint.get("/receivers")
def receivers() -> Response:
    """List the configured receivers by name."""
    return render("receivers.html", receivers=services().status.receivers())


@blueprint.post("/receivers/<name>/pause")
def pause_receiver(name: str) -> Response:
    """Begin no further attempt until it is resumed."""
    services().pause_receiver(name)
    return back(url_for("pages.receivers"), "receiver-paused")


@blueprint.post("/receivers/<name>/resume")
def resume_receiver(name: str) -> Response:
    """Send to it again."""
    services().resume_receiver(name)
    return back(url_for("pages.receivers"), "receiver-resumed")
