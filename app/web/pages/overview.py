"""The overview: is everything all right, what needs a person, and what happened lately."""

from flask import Response, url_for

from app.services.status.answers import Need
from app.web.pages import charts
from app.web.pages.views import blueprint, render
from app.web.pages.words import event_path, receiver_path, repository_path
from app.web.wiring import services

NEWEST = 12


@blueprint.get("/")
def overview() -> Response:
    """Show everything at once."""
    running = services()
    health = running.health()
    everything = running.status.overview(health.components)
    return render(
        "overview.html",
        everything=everything,
        health=health,
        needs=[(need, _address(need)) for need in everything.needs],
        chart=charts.activity(everything.hours),
        events=running.status.events(limit=NEWEST).items,
    )


def _address(need: Need) -> str | None:
    """Return the page on which a need is met."""
    if need.about == "repository":
        return repository_path(need.subject)
    if need.about == "event":
        return event_path(need.subject)
    if need.about == "deliveries":
        if need.subject == "unconfirmed":
            return url_for("pages.deliveries", confirmation=need.subject)
        return url_for("pages.deliveries", state=need.subject)
    if need.about == "storm":
        return url_for("pages.events", hold=need.subject)
    if need.about == "forge":
        return url_for("pages.forges")
    if need.about == "former receiver":
        return url_for("pages.receivers")
    return receiver_path(need.subject) if need.about == "receiver" else None
