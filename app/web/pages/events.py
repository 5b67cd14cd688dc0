"""The events' pages: the list, and one with its deliveries and all that was sent."""

from flask import Response, request

from app.domain.event import EventKind, EventState
from app.storage.entries import DeliveryDetail
from app.web.api import schemas
from app.web.masking import masked_headers
from app.web.pages.views import AGES, asked, back, blueprint, here, links, render
from app.web.pages.words import event_path, pretty
from app.web.wiring import services

# Characters of sent bodies on one page; the API has them whole.
BODIES_SHOWN = 24_000
ATTEMPTS_SHOWN = 10


@blueprint.get("/events")
def events() -> Response:
    """List events, newest first."""
    status = services().status
    query = schemas.read_events_query(asked(without=("age",)))
    age = request.args.get("age", "")
    if age in AGES and "since" not in query:
        query["since"] = status.now() - AGES[age][1]
    page = status.events(**query)
    return render(
        "events.html",
        page=page,
        query=query,
        age=age,
        ages=AGES,
        kinds=[kind.value for kind in EventKind],
        states=[state.value for state in EventState],
        next_url=here(cursor=page.next) if page.next else None,
        first_url=here(cursor=None) if "cursor" in query else None,
    )


@blueprint.get("/events/<event_id>")
def event(event_id: str) -> Response:
    """Show what happened, and what was made of it."""
    detail = services().status.event(event_id)
    left = BODIES_SHOWN
    shown = []
    for delivery in detail.deliveries:
        body = _body(delivery)
        shown.append((delivery, masked_headers(delivery.headers or {}), body[:left], len(body)))
        left = max(0, left - len(body))
    return render(
        "event.html",
        event=detail.event,
        deliveries=shown,
        closed={one.name: one for one in services().status.receivers() if one.is_closed},
        receivers=services().status.receiver_names(),
        attempts_shown=ATTEMPTS_SHOWN,
        links=links(),
    )


@blueprint.post("/events/<event_id>/redeliver")
def redeliver_event(event_id: str) -> Response:
    """Owe it again, to one receiver or to all it was owed to."""
    receivers = request.form.getlist("receiver")
    services().redeliver(event_id, receivers or None)
    return back(event_path(event_id), "redelivered")


def _body(delivery: DeliveryDetail) -> str:
    return "" if delivery.body is None else pretty(delivery.body.decode(errors="replace"))
