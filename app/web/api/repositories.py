"""The watched repositories: how they fare, their refs, and what may be done to them."""

import re

from flask import Blueprint, Response, request, url_for

from app.storage.filters import RepositoryFilter
from app.web.api import schemas, shapes
from app.web.api.body import read_body
from app.web.wiring import services

blueprint = Blueprint("repositories", __name__, url_prefix="/repositories")

# Longer would hold one of the few threads that serve.
LONGEST_WAIT_S = 5


@blueprint.get("")
def index() -> Response:
    """List the repositories by name."""
    query = schemas.read_repositories_query(request.args)
    wanted = RepositoryFilter(
        query.get("state"), query.get("label"), query.get("forge"), query.get("q")
    )
    page = services().status.repositories(wanted, limit=query["limit"], cursor=query.get("cursor"))
    return shapes.reply_page(page, shapes.repository)


@blueprint.get("/<path:name>")
def show(name: str) -> Response:
    """Tell how one repository fares."""
    schemas.read_nothing(request.args)
    status = services().status
    return shapes.reply(shapes.repository_detail(status.repository(name), status.watched(name)))


@blueprint.get("/<path:name>/refs")
def refs(name: str) -> Response:
    """List a repository's watched refs by name."""
    query = schemas.read_paged_query(request.args)
    page = services().status.refs(name, limit=query["limit"], cursor=query.get("cursor"))
    return shapes.reply_page(page, shapes.ref)


@blueprint.get("/<path:name>/explain")
def explain(name: str) -> Response:
    """Tell why a ref did or did not trigger."""
    ref = schemas.read_explain_query(request.args)
    return shapes.reply(shapes.explanation(services().status.explain(name, ref)))


@blueprint.post("/<path:name>/poll")
def poll(name: str) -> Response:
    """Wake a repository; ``Prefer: wait=N`` waits up to five seconds for the outcome."""
    schemas.read_nothing(request.args)
    schemas.read_empty(read_body())
    headers = {"Location": url_for(".show", name=name)}
    wait_s = _preferred_wait()
    if wait_s is None:
        services().wake(name)
        return shapes.reply({"name": name, "woken": True}, status=202, headers=headers)
    headers["Preference-Applied"] = f"wait={wait_s}"
    outcome = services().poll_and_wait(name, wait_s)
    if outcome is None:
        return shapes.reply({"name": name, "woken": True}, status=202, headers=headers)
    return shapes.reply(shapes.poll(outcome), headers=headers)


@blueprint.post("/<path:name>/pause")
def pause(name: str) -> Response:
    """Stop polling a repository until it is resumed."""
    schemas.read_nothing(request.args)
    schemas.read_empty(read_body())
    services().pause_repository(name)
    return shapes.reply(shapes.repository(services().status.repository(name)))


@blueprint.post("/<path:name>/resume")
def resume(name: str) -> Response:
    """Poll a paused repository again."""
    schemas.read_nothing(request.args)
    schemas.read_empty(read_body())
    services().resume_repository(name)
    return shapes.reply(shapes.repository(services().status.repository(name)))


def _preferred_wait() -> int | None:
    """Return the seconds that the caller would wait (RFC 7240), as many as we allow."""
    for preference in ",".join(request.headers.getlist("Prefer")).split(","):
        found = re.fullmatch(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*', preference, re.IGNORECASE)
        if found:
            return min(int(found[1]), LONGEST_WAIT_S)
    return None
