"""How pages say things: ages, durations, states, short names."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from flask import request
from markupsafe import Markup

from app.domain.refs import is_pull, is_tag, short_name

# Each state has a shape and a tone besides its word, so that no one needs to see its colour.
SHAPES = {
    "ok": ("●", "good"),
    "delivered": ("●", "good"),
    "active": ("●", "good"),
    "new": ("○", "calm"),
    "pending": ("○", "calm"),
    "ignored": ("○", "calm"),
    "unchanged": ("○", "calm"),
    "open": ("◐", "busy"),
    "sending": ("◐", "busy"),
    "waiting": ("◐", "busy"),
    "standby": ("◐", "busy"),
    "changed": ("◆", "good"),
    "paused": ("■", "busy"),
    "held": ("■", "busy"),
    "degraded": ("▲", "busy"),
    "failing": ("▲", "bad"),
    "failed": ("▲", "bad"),
    "dead": ("▲", "bad"),
    "retired": ("✕", "calm"),
    "cancelled": ("✕", "calm"),
    "disabled": ("✕", "bad"),
    "circuit open": ("▲", "bad"),
    "awaited": ("◐", "busy"),
    "confirmed": ("●", "good"),
    "unconfirmed": ("▲", "bad"),
    "released": ("●", "good"),
    "dismissed": ("✕", "calm"),
    "spent": ("◐", "busy"),
    "refused": ("▲", "bad"),
    "kept": ("●", "good"),
    "stretched": ("◐", "busy"),
    "late": ("◐", "busy"),
    "missed": ("▲", "busy"),
    "contradicted": ("▲", "busy"),
    "forged": ("▲", "bad"),
    "received": ("○", "calm"),
    "moved": ("◐", "busy"),
    "archived": ("■", "busy"),
}
# The ways of reading, and what else a forge is asked for, as people would say it.
WAYS = {
    "rest": "REST",
    "one-branch": "REST, the one branch",
    "graphql": "GraphQL",
    "listing": "the owner's list (REST)",
    "ls-refs": "git over HTTP",
    "ls-remote": "the git command",
    "compare": "what a push brought",
    "activity": "the log of pushes",
}
RESOURCES = {
    "rest": "REST requests",
    "rest-minute": "REST requests",
    "graphql": "GraphQL points",
    "graphql-minute": "GraphQL points",
    "git": "git requests",
}
# Why a poll took place.
REASONS = {
    "schedule": "its turn",
    "start": "RepoSentry began",
    "retry": "again after a failure",
    "wake": "a person asked",
    "probe": "a probe saw it move",
    "hook": "a webhook of the forge's",
    "slot": "its turn, put off for the forge's pace",
}
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
SHORT_ID = 8  # what forges show themselves is 7 to 10
ARROW = "→"


def state(word: str | None) -> Markup:
    """Show a state by shape and word."""
    if word is None:
        return Markup("—")
    return _STATES.get(word) or _state(word, "○", "calm")


def _state(word: str, shape: str, tone: str) -> Markup:
    return Markup('<span class="state {}"><i aria-hidden="true">{}</i> {}</span>').format(
        tone, shape, word
    )


# Made once: a list shows a hundred of them.
_STATES = {word: _state(word, shape, tone) for word, (shape, tone) in SHAPES.items()}


def exactly(at: datetime | None) -> str:
    """Spell a moment in full, in UTC.

    >>> exactly(datetime(2026, 11, 5, 12, 30, 0, 123456, tzinfo=UTC))
    '2026-11-05 12:30:00.123 UTC'
    """
    if at is None:
        return "never"
    return at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds")[:23] + " UTC"


def relative(at: datetime | None, now: datetime) -> Markup:
    """Show how long ago or how soon a moment is, the very second on hover."""
    if at is None:
        return Markup("—")
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return _time(at, "now")
    return _time(at, f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}")


def next_try(at: datetime | None, now: datetime) -> Markup:
    """Show when a delivery is tried; one that could be at once waits for those before it."""
    return Markup("in its turn") if at is not None and at <= now else relative(at, now)


def lasting(since: datetime, now: datetime) -> Markup:
    """Show for how long something has been so, the very second of its beginning on hover."""
    return _time(since, f"for {span(max(1.0, (now - since).total_seconds()))}")


def told(moment: str, now: datetime) -> Markup:
    """Show how long ago a moment was that others told; nothing if it is none."""
    try:
        return relative(datetime.fromisoformat(moment).astimezone(UTC), now)
    except (ValueError, OverflowError):
        return Markup()


def _time(at: datetime, words: str) -> Markup:
    # To the second: this stands three times in a row of a long list.
    day, _, clock = at.astimezone(UTC).isoformat(timespec="seconds")[:19].partition("T")
    time = f'<time datetime="{day}T{clock}Z" title="{day} {clock} UTC">{words}</time>'
    return Markup(time)  # noqa: S704 - all of it is ours, and to escape it takes half of the page's time


def span(seconds: float | None) -> str:
    """Spell a duration by its largest unit, below a minute more exactly.

    >>> span(0.0421), span(1.25), span(42.0), span(150), span(7_200), span(400_000), span(None)
    ('42 ms', '1.2 s', '42 s', '2 min', '2 h', '4 d', '—')
    """
    if seconds is None:
        return "—"
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 10:  # noqa: PLR2004 - a tenth matters only below ten
        return f"{seconds:.1f} s".replace(".0 ", " ")
    size, unit = next((size, unit) for size, unit in UNITS if seconds >= size)
    return f"{int(seconds // size)} {unit}"


def count(number: int, *, stops_at: int = 10_000) -> str:
    """Spell a number; a count that stopped says so, and one that never stops has 0 for that.

    >>> count(1234), count(10_000), count(10_000, stops_at=0), count(0, stops_at=0)
    ('1,234', '10,000+', '10,000', '0')
    """
    return f"{number:,}+" if stops_at and number == stops_at else f"{number:,}"


def short(commit_id: str) -> str:
    """Shorten a commit id; one of zeros means none.

    >>> short("1f2e3d4c5b6a"), short("0" * 40)
    ('1f2e3d4c', 'none')
    """
    return commit_id[:SHORT_ID] if commit_id.strip("0") else "none"


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence has them.

    >>> listed(["created"]), listed(["created", "updated", "deleted"])
    ('created', 'created, updated and deleted')
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def sort(ref: str) -> str:
    """Say what a ref is.

    >>> sort("refs/heads/main"), sort("refs/tags/v1"), sort("refs/pull/7/head")
    ('branch', 'tag', 'pull request')
    """
    return "pull request" if is_pull(ref) else "tag" if is_tag(ref) else "branch"


def way(word: str) -> str:
    """Name a way of reading.

    >>> way("ls-refs"), way("pigeon")
    ('git over HTTP', 'pigeon')
    """
    return WAYS.get(word, word)


def resource(word: str) -> str:
    """Name what a forge counts.

    >>> resource("rest-minute")
    'REST requests'
    """
    return RESOURCES.get(word, word)


def reason(word: str) -> str:
    """Say why a poll took place.

    >>> reason("hook")
    "a webhook of the forge's"
    """
    return REASONS.get(word, word)


def per(period: timedelta) -> str:
    """Name a period that a limit counts over.

    >>> per(timedelta(hours=1)), per(timedelta(minutes=1)), per(timedelta(minutes=5))
    ('an hour', 'a minute', 'in 5 min')
    """
    named = {timedelta(minutes=1): "a minute", timedelta(hours=1): "an hour"}
    return named.get(period) or f"in {span(period.total_seconds())}"


def lag(ms: int | None) -> str:
    """Say how long after its change was found a webhook came, or how long before.

    >>> lag(2_000), lag(-700), lag(None)
    ('2 s after polling', '700 ms before polling', '—')
    """
    if ms is None:
        return "—"
    return f"{span(abs(ms) / 1000)} {'after' if ms > 0 else 'before'} polling"


def share(part: float, whole: float) -> str:
    """Spell a part of a whole in per cent.

    >>> share(1, 3), share(999, 1000), share(0, 0)
    ('33 %', '99 %', '—')
    """
    return f"{int(100 * part / whole)} %" if whole else "—"


def step(event: Any) -> str:
    """Show where a ref went, in short ids."""
    if event.kind.endswith("created"):
        return short(event.after)
    if event.kind.endswith("deleted"):
        return short(event.before)
    return f"{short(event.before)} {ARROW} {short(event.after)}"


def kind(word: str) -> str:
    """Spell an event's kind.

    >>> kind("branch_created")
    'branch created'
    """
    return word.replace("_", " ")


def pretty(text: str) -> str:
    """Lay JSON out for reading, and leave everything else as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def repository_path(name: str) -> str:
    """Return the address of a repository's page."""
    return f"{request.script_root}/repositories/{quote(name)}"


def event_path(event_id: str) -> str:
    """Return the address of an event's page."""
    return f"{request.script_root}/events/{quote(event_id, safe='')}"


def receiver_path(name: str) -> str:
    """Return the address of a receiver's page."""
    return f"{request.script_root}/receivers/{quote(name, safe='')}"


FILTERS: dict[str, Callable[..., Any]] = {
    "state": state,
    "exactly": exactly,
    "next_try": next_try,
    "relative": relative,
    "lasting": lasting,
    "told": told,
    "span": span,
    "count": count,
    "short": short,
    "short_name": short_name,
    "is_tag": is_tag,
    "sort_of_ref": sort,
    "step": step,
    "kind": kind,
    "way": way,
    "resource": resource,
    "reason": reason,
    "per": per,
    "lag": lag,
    "share": share,
    "pretty": pretty,
    "repository_path": repository_path,
    "event_path": event_path,
    "receiver_path": receiver_path,
}
