"""The repositories' pages: the list, and one with its refs, polls and events."""

from flask import Response, request

from app.services.status.answers import Explanation
from app.storage.filters import RepositoryFilter
from app.web.api import schemas
from app.web.pages import charts
from app.web.pages.views import asked, back, blueprint, here, links, render
from app.web.pages.words import repository_path
from app.web.wiring import services

REFS_SHOWN = 50
EVENTS_SHOWN = 20
# Most polls end sooner, and then the page can say what they found.
POLL_WAIT_S = 3


@blueprint.get("/repositories")
def repositories() -> Response:
    """List the repositories by name."""
    query = schemas.read_repositories_query(asked())
    wanted = RepositoryFilter(
        query.get("state"), query.get("label"), query.get("forge"), query.get("q")
    )
    page = services().status.repositories(wanted, limit=query["limit"], cursor=query.get("cursor"))
    return render(
        "repositories.html",
        page=page,
        query=query,
        states=schemas.REPOSITORY_STATES,
        next_url=here(cursor=page.next) if page.next else None,
        first_url=here(cursor=None) if "cursor" in query else None,
    )


@blueprint.get("/repositories/<path:name>")
def repository(name: str) -> Response:
    """Show how one repository fares, and why a ref did or did not trigger."""
    status = services().status
    query = schemas.read_paged_query(asked(without=("why",)))
    found = status.repository(name)
    refs = status.refs(name, limit=REFS_SHOWN, cursor=query.get("cursor"))
    return render(
        "repository.html",
        repository=found,
        watched=status.watched(name),
        refs=refs,
        next_url=here(cursor=refs.next) + "#refs" if refs.next else None,
        first_url=here(cursor=None) + "#refs" if "cursor" in query else None,
        polls=(polls := status.polls(name)),
        chart=charts.polls(polls.hours, until=status.now()),
        events=status.events(repository=name, limit=EVENTS_SHOWN),
        why=_explanation(name),
        links=links(),
    )


@blueprint.post("/repositories/<path:name>/poll")
def poll_repository(name: str) -> Response:
    """Poll now, and wait a moment for the outcome."""
    outcome = services().poll_and_wait(name, POLL_WAIT_S)
    if outcome is None:
        return back(repository_path(name), "woken")
    said = {"changed": "changed", "unchanged": "unchanged"}.get(outcome.outcome, "poll-failed")
    return back(repository_path(name), said)


@blueprint.post("/repositories/<path:name>/pause")
def pause_repository(name: str) -> Response:
    """Stop polling until it is resumed."""
    services().pause_repository(name)
    return back(repository_path(name), "paused")


@blueprint.post("/repositories/<path:name>/resume")
def resume_repository(name: str) -> Response:
    """Poll again."""
    services().resume_repository(name)
    return back(repository_path(name), "resumed")


def _explanation(name: str) -> Explanation | None:
    ref = request.args.get("why", "").strip()[: schemas.LONGEST_TEXT]
    return services().status.explain(name, ref) if ref else None
