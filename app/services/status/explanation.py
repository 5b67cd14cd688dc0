"""Sentences that say why a ref did or did not trigger, and what became of it."""

from app.domain.paths import Verdict, touched_from_json
from app.domain.refs import BRANCH_PREFIX, TAG_PREFIX, is_pull, is_tag
from app.storage.entries import DeliveryEntry, EventEntry, RefEntry


def says_watched(ref: str, pattern: str | None, *, watched: bool) -> str:
    """Say whether a ref is watched, and by which pattern."""
    if is_pull(ref):
        told = "is watched: pull_requests is on" if watched else "is not watched: no pull_requests"
        return f"{ref} {told}."
    if not ref.startswith((BRANCH_PREFIX, TAG_PREFIX)):
        return f"{ref} is neither a branch nor a tag, so it is not watched."
    sort = "tag" if is_tag(ref) else "branch"
    if pattern is None:
        return f"{ref} is not watched: no {sort} pattern matches it."
    if watched:
        return f"{ref} is watched: the {sort} pattern {pattern} takes it in."
    return f"{ref} is not watched: the {sort} pattern {pattern} takes it out."


def says_place(state: str, found: RefEntry | None) -> str:
    """Say where a ref is, in a repository of that state."""
    if found is not None:
        return f"At the last change it was at {found.commit_id}."
    if state == "new":
        return "The repository has not been read yet."
    return "It is not among the refs that the last poll saw."


def says_event(event: EventEntry | None, found: RefEntry | None) -> str:
    """Say what the ref's last event is."""
    if event is None and found is not None:
        return "It made no event lately: the first snapshot makes none, and it has not moved since."
    if event is None:
        return "It made no event lately."
    return f"Its last event is {event.kind}, number {event.sequence} of this repository."


def says_files(event: EventEntry | None) -> tuple[str, ...]:
    """Say what the files of the ref's last event came to, where the repository chooses by paths."""
    if event is None or event.paths is None:
        return ()
    touched = touched_from_json(event.paths)
    count = touched.total
    if touched.verdict is Verdict.MISSED:
        return (f"None of its {count} changed files matches paths, so nobody is owed it.",)
    if touched.verdict is Verdict.MATCHED:
        return (f"Some of its {count} changed files match paths.",)
    return ("Which files it changed could not be told, so it is sent whatever paths say.",)


def says_delivery(delivery: DeliveryEntry) -> str:
    """Say what became of a delivery."""
    answer = says_answer(delivery)
    told = f" ({answer})" if answer else ""
    return f"{delivery.receiver}: {delivery.state}{told}."


def says_answer(delivery: DeliveryEntry) -> str | None:
    """Say what the receiver answered last; None: it was not asked."""
    if delivery.last_error:
        return delivery.last_error
    return f"it answered {delivery.last_status}" if delivery.last_status else None
