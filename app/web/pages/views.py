"""What all pages share: their blueprint, how they are rendered, and messages after an action."""

from datetime import timedelta
from typing import Any, cast
from urllib.parse import quote, urlencode

from flask import (
    Blueprint,
    Response,
    current_app,
    make_response,
    redirect,
    render_template,
    request,
)
from werkzeug.datastructures import MultiDict

from app.web.pages.links import ForgeLinks
from app.web.wiring import services

LINKS = "reposentry.links"

blueprint = Blueprint(
    "pages",
    __name__,
    template_folder="templates",
    static_folder="static",
    static_url_path="/static",
)

# What forms offer, instead of two moments to type.
AGES = {
    "1h": ("last hour", timedelta(hours=1)),
    "24h": ("last 24 hours", timedelta(hours=24)),
    "7d": ("last 7 days", timedelta(days=7)),
}

# After an action the browser is sent back to the page with one of these names; no text of a
# link's making is ever shown.
NOTICES = {
    "woken": "The poll has been asked for; its outcome will show here.",
    "changed": "Polled: something has changed.",
    "unchanged": "Polled: nothing has changed.",
    "poll-failed": "Polled, but the repository could not be read.",
    "paused": "Paused. Nothing is polled until it is resumed; what is owed is still delivered.",
    "resumed": "Resumed. It is polled again.",
    "receiver-paused": "Paused. Nothing is sent to it until it is resumed; what is owed is kept.",
    "receiver-resumed": "Resumed. What it is owed is sent now.",
    "receiver-redelivered": "They are owed to it again, the oldest first.",
    "receiver-none-left": "Nothing was left to send again: all of it was sent anew already.",
    "receiver-cancelled": "Cancelled. What it was owed will not be sent.",
    "receiver-none-owed": "Nothing was owed to it that could be cancelled.",
    "storm-released": "Released. What was held is sent now, in its order.",
    "storm-dismissed": "Dismissed. None of it will be sent; its events stay in the history.",
    "redelivered": "It is owed again and will be sent at once.",
    "retried": "It will be tried at once.",
    "cancelled": "Cancelled. It will not be tried again.",
}


def render(template: str, *, status: int = 200, **values: Any) -> Response:
    """Render a page."""
    running = services()
    html = render_template(
        template,
        now=running.status.now(),
        version=running.version,
        notice=NOTICES.get(request.args.get("did", "")),
        **values,
    )
    return make_response(html, status)


def links() -> ForgeLinks:
    """Return the links into the forges that this application knows."""
    return cast("ForgeLinks", current_app.extensions[LINKS])


def back(url: str, did: str) -> Response:
    """Send the browser to a page that says what was done (303: by GET, so that reload is safe)."""
    mark = "&" if "?" in url else "?"
    return cast("Response", redirect(f"{url}{mark}did={did}", code=303))


def asked(*, without: tuple[str, ...] = ()) -> MultiDict[str, str]:
    """Return the query, without what only the page itself understands."""
    kept = [(k, v) for k, v in request.args.items(multi=True) if k not in {"did", *without}]
    return MultiDict(kept)


def here(**changes: str | None) -> str:
    """Return this page's address with parts of its query changed, or removed by None."""
    query = {k: v for k, v in request.args.items() if v and k != "did"}
    query |= {k: v for k, v in changes.items() if v is not None}
    for name in [name for name, value in changes.items() if value is None]:
        query.pop(name, None)
    return quote(request.script_root + request.path) + (f"?{urlencode(query)}" if query else "")
