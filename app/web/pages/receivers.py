"""The receivers' pages: who is told, how well they listen, and what can be done for one."""

from collections.abc import Iterator

from flask import Response, request, url_for

from app.domain.delivery import RetryPolicy
from app.domain.refs import RefFilter
from app.settings.types import Receiver
from app.settings.units import format_duration, format_rate
from app.web.pages.views import back, blueprint, render
from app.web.pages.words import listed, receiver_path
from app.web.wiring import services

DELIVERIES_SHOWN = 20


@blueprint.get("/receivers")
def receivers() -> Response:
    """List the configured receivers by name, and those that are only owed something."""
    status = services().status
    return render("receivers.html", receivers=status.receivers(), former=status.former_receivers())


@blueprint.get("/receivers/<name>")
def receiver(name: str) -> Response:
    """Show how one receiver fares, what it is sent, and its newest deliveries."""
    status = services().status
    found, settings = status.receiver(name), status.receiver_settings(name)
    return render(
        "receiver.html",
        receiver=found,
        facts=list(facts(settings)),
        deliveries=status.deliveries(receiver=name, limit=DELIVERIES_SHOWN),
        dead=status.count_dead(name),
        unconfirmed=status.count_unconfirmed(name) if settings.confirm else None,
        closed={name} if found.is_closed else set(),
    )


@blueprint.post("/receivers/<name>/pause")
def pause_receiver(name: str) -> Response:
    """Begin no further attempt until it is resumed."""
    services().pause_receiver(name)
    return back(receiver_path(name), "receiver-paused")


@blueprint.post("/receivers/<name>/resume")
def resume_receiver(name: str) -> Response:
    """Send to it again."""
    services().resume_receiver(name)
    return back(receiver_path(name), "receiver-resumed")


@blueprint.post("/receivers/<name>/redeliver")
def redeliver_to_receiver(name: str) -> Response:
    """Owe it again all that it did not take, or all that nobody confirmed."""
    running = services()
    running.status.receiver(name)
    wanted = running.status.chosen(receiver=name, state="dead")
    if request.form.get("which") == "unconfirmed":
        wanted = running.status.chosen(receiver=name, confirmation="unconfirmed")
    made = running.redeliver_many(wanted)
    return back(receiver_path(name), "receiver-redelivered" if made else "receiver-none-left")


@blueprint.post("/receivers/<name>/cancel")
def cancel_for_receiver(name: str) -> Response:
    """End all that it is owed, also for one that is not configured any more."""
    running = services()
    ended = running.cancel_many(running.status.chosen(receiver=name))
    is_known = name in running.status.receiver_names()
    page = receiver_path(name) if is_known else url_for("pages.receivers")
    return back(page, "receiver-cancelled" if ended else "receiver-none-owed")


def facts(one: Receiver) -> Iterator[tuple[str, str]]:
    """Say in words what is configured; secrets are only said to be there."""
    yield "Payload", one.payload
    yield "Signed", _signed(one)
    yield "Taken is", "any 2xx answer" if one.expect == "2xx" else f"only the answer {one.expect}"
    if one.confirm:
        yield "Confirmed", f"by {one.confirm}'s own event, within a minute"
    yield "Wants", f"{listed(one.changes)}: {_refs(one.refs)}"
    yield "Order", _order(one)
    rate = f", {format_rate(one.rate)}" if one.rate else ""
    yield "At most", f"{one.concurrency} at once{rate}"
    yield "Each try", f"{format_duration(one.timeout)} at the longest"
    yield "Tried again", _retry(one.retry)
    if one.headers:
        yield "Added headers", ", ".join(one.headers)
    if one.ca_file or one.client_cert_file:
        parts = [
            one.ca_file and "an own authority",
            one.client_cert_file and "a certificate of ours",
        ]
        yield "TLS", listed([part for part in parts if part])


def _signed(one: Receiver) -> str:
    if not one.secret:
        return "not at all: it has no secret"
    return "with its secret" + (" and the one before it" if one.previous_secret else "")


def _refs(refs: RefFilter) -> str:
    said = [
        f"{sort} {' '.join(patterns)}"
        for sort, patterns in (("branches", refs.branches), ("tags", refs.tags))
        if patterns
    ]
    return listed(said) or "no branch and no tag"


def _order(one: Receiver) -> str:
    if one.order == "none":
        return "none: no delivery waits for another"
    return "kept for each repository: one that waits holds its successors back"


def _retry(policy: RetryPolicy) -> str:
    first, longest, give_up = map(format_duration, (policy.first, policy.longest, policy.give_up))
    return f"after {first}, doubled up to {longest}; given up when tried for {give_up}"
