"""The deliveries' page with the storms that are held, and the buttons that hurry or end one."""

from flask import Response, request, url_for

from app.domain.delivery import Confirmation, DeliveryState
from app.web.api import schemas
from app.web.pages.views import AGES, asked, back, blueprint, here, render
from app.web.pages.words import event_path
from app.web.wiring import services


@blueprint.get("/deliveries")
def deliveries() -> Response:
    """List deliveries, newest first."""
    status = services().status
    query = schemas.read_deliveries_query(asked(without=("age",)))
    age = request.args.get("age", "")
    if age in AGES and "since" not in query:
        query["since"] = status.now() - AGES[age][1]
    page = status.deliveries(**query)
    return render(
        "deliveries.html",
        page=page,
        query=query,
        age=age,
        ages=AGES,
        confirmations=[one.value for one in Confirmation],
        storms=status.storms("held"),
        states=[state.value for state in DeliveryState],
        receivers=status.receiver_names(),
        closed={one.name for one in status.receivers() if one.is_closed},
        next_url=here(cursor=page.next) if page.next else None,
        first_url=here(cursor=None) if "cursor" in query else None,
    )


@blueprint.post("/deliveries/<delivery_id>/retry")
def retry_delivery(delivery_id: str) -> Response:
    """Try a waiting delivery now."""
    services().retry_delivery(delivery_id)
    return back(_event_page(delivery_id), "retried")


@blueprint.post("/deliveries/<delivery_id>/cancel")
def cancel_delivery(delivery_id: str) -> Response:
    """Finish a delivery without trying it again."""
    services().cancel_delivery(delivery_id)
    return back(_event_page(delivery_id), "cancelled")


@blueprint.post("/storms/<hold_id>/release")
def release_storm(hold_id: str) -> Response:
    """Send what a storm holds."""
    services().release_storm(hold_id)
    return back(url_for("pages.deliveries"), "storm-released")


@blueprint.post("/storms/<hold_id>/dismiss")
def dismiss_storm(hold_id: str) -> Response:
    """Cancel what a storm holds."""
    services().dismiss_storm(hold_id)
    return back(url_for("pages.deliveries"), "storm-dismissed")


def _event_page(delivery_id: str) -> str:
    return event_path(services().status.delivery(delivery_id).delivery.event_id)
