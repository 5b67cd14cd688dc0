"""How things are spelled in the API: plain dicts, written by hand since lists are long."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from flask import Response, request

from app.domain.allowance import Budget, Credential, Spent
from app.domain.moments import instant
from app.domain.paths import listed, touched_from_json
from app.domain.plan import ForgePlan, ProbeHealth
from app.services.status.answers import (
    EventDetail,
    Explanation,
    ForgeStatus,
    ForgeWork,
    Latency,
    Need,
    OpenCircuit,
    Overview,
    ReceiverStatus,
    RepositoryStatus,
    RepositoryWatch,
    Trouble,
)
from app.services.status.forges import forecast
from app.storage.entries import (
    AttemptEntry,
    DeliveryDetail,
    DeliveryEntry,
    EventEntry,
    HoldEntry,
    HookEntry,
    HookSums,
    Page,
    RefEntry,
)
from app.storage.records import PollRecord
from app.web.masking import masked_headers

T = TypeVar("T")


def reply(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON, as it stands."""
    text = json.dumps(body, separators=(",", ":"))
    return Response(text, status=status, headers=headers, content_type="application/json")


def reply_page(page: Page[T], shape: Callable[[T], dict[str, Any]]) -> Response:
    """Answer with one page of a list, and with a link to the next."""
    response = reply({"items": [shape(item) for item in page.items], "next": page.next})
    if page.next is not None:
        arguments = [(k, v) for k, v in request.args.items(multi=True) if k != "cursor"]
        link = _url([*arguments, ("cursor", page.next)])
        response.headers["Link"] = f'<{link}>; rel="next"'
    return response


def _url(arguments: list[tuple[str, str]]) -> str:
    return f"{quote(request.path)}?{urlencode(arguments)}"


def moment(at: datetime | None) -> str | None:
    """Spell a moment as the API does everywhere; there may be none."""
    return None if at is None else instant(at)


def repository(one: RepositoryStatus) -> dict[str, Any]:
    """Spell how a repository fares."""
    return {
        "name": one.name,
        "url": one.url,
        "forge": one.forge,
        "state": one.state,
        "labels": dict(one.labels),
        "refs_count": one.refs_count,
        "default_branch": one.default_branch,
        "interval_s": one.interval_s,
        "last_change_at": moment(one.last_change_at),
        "last_poll_at": moment(one.last_poll_at),
        "last_outcome": one.last_outcome,
        "read_by": one.read_by,
        "next_poll_at": moment(one.next_poll_at),
        "next_poll_reason": one.next_poll_reason,
        "failures": one.failures,
        "latency_s": latency(one.latency),
        "error": _trouble(one.error),
        "moved_to": one.facts.get("moved_to"),
        "is_archived": one.facts.get("is_archived"),
        "is_disabled": one.facts.get("is_disabled"),
    }


def repository_detail(one: RepositoryStatus, watched: RepositoryWatch) -> dict[str, Any]:
    """Spell how a repository fares, and what looks after it."""
    probe = watched.probe and {
        "name": watched.probe.name,
        "every_s": watched.probe.every.total_seconds(),
        "is_covering": watched.probe.is_covering,
    }
    return {
        **repository(one),
        "paths": list(watched.paths),
        "pull_requests": watched.pull_requests,
        "watching": {
            "promised_s": watched.interval and watched.interval.total_seconds(),
            "way": watched.way,
            "probe": probe,
            "takes_hooks": watched.takes_hooks,
        },
    }


def latency(one: Latency) -> dict[str, float | None]:
    """Spell a latency, in seconds."""
    return {"p50": _rounded(one.p50), "p95": _rounded(one.p95)}


def ref(one: RefEntry) -> dict[str, Any]:
    """Spell a ref of a snapshot."""
    return {"name": one.name, "commit": one.commit_id, "changed_at": moment(one.changed_at)}


def poll(one: PollRecord) -> dict[str, Any]:
    """Spell a poll's outcome."""
    error = None
    if one.error_code is not None:
        error = {"code": one.error_code, "message": one.error_message}
    return {
        "started_at": moment(one.started_at),
        "duration_ms": one.duration_ms,
        "reason": one.reason,
        "outcome": one.outcome,
        "read_by": one.read_by,
        "changes": one.changes,
        "error": error,
    }


def event(one: EventEntry) -> dict[str, Any]:
    """Spell an event."""
    return {
        "id": one.id,
        "sequence": one.sequence,
        "kind": one.kind,
        "repository": {
            "name": one.repository_name,
            "url": one.repository_url,
            "forge": one.repository_forge,
        },
        "ref": one.ref,
        "before": one.before,
        "after": one.after,
        "forced": one.forced,
        "commits": one.commits,
        "commits_count": one.commits_count,
        "pusher": one.pusher,
        **listed(touched_from_json(one.paths) if one.paths else None),
        "pushed_at": moment(one.pushed_at),
        "detected_at": moment(one.detected_at),
        "catch_up": one.catch_up,
        "state": one.state,
        "hold": one.hold_id,
    }


def event_detail(one: EventDetail) -> dict[str, Any]:
    """Spell an event with its deliveries and their attempts."""
    deliveries = [_with_attempts(delivery) for delivery in one.deliveries]
    return {**event(one.event), "deliveries": deliveries}


def delivery(one: DeliveryEntry) -> dict[str, Any]:
    """Spell a delivery."""
    return {
        "id": one.id,
        "event_id": one.event_id,
        "repository": one.repository_name,
        "ref": one.ref,
        "receiver": one.receiver,
        "redelivery": one.redelivery,
        "payload": one.payload,
        "state": one.state,
        "confirmation": one.confirmation,
        "attempts_made": one.attempts_made,
        "next_attempt_at": moment(one.next_attempt_at),
        "created_at": moment(one.created_at),
        "finished_at": moment(one.finished_at),
        "last_status": one.last_status,
        "last_error": one.last_error,
    }


def delivery_detail(one: DeliveryDetail) -> dict[str, Any]:
    """Spell a delivery with its attempts, and with the request it makes."""
    request_made = None
    if one.body is not None:
        request_made = {
            "headers": masked_headers(one.headers or {}),
            "body": one.body.decode(errors="replace"),
        }
    return {**_with_attempts(one), "request": request_made}


def _with_attempts(one: DeliveryDetail) -> dict[str, Any]:
    return {**delivery(one.delivery), "attempts": [_attempt(try_) for try_ in one.attempts]}


def _attempt(one: AttemptEntry) -> dict[str, Any]:
    return {
        "number": one.number,
        "started_at": moment(one.started_at),
        "duration_ms": one.duration_ms,
        "status": one.status,
        "error": one.error,
        "answer": one.answer,
    }


def receiver(one: ReceiverStatus) -> dict[str, Any]:
    """Spell how a receiver fares."""
    return {
        "name": one.name,
        "url": one.url,
        "payload": one.payload,
        "state": one.state,
        "owed": one.owed,
        "reason": one.reason,
        "since": moment(one.since),
        "circuit": _circuit(one.circuit),
    }


def _circuit(one: OpenCircuit | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "opened_at": moment(one.opened_at),
        "reason": one.reason,
        "failures": one.failures,
        "next_probe_at": moment(one.next_probe_at),
    }


def forge(one: ForgeStatus, now: datetime) -> dict[str, Any]:
    """Spell how a forge fares."""
    return {
        "name": one.name,
        "kind": one.kind,
        "url": one.url or None,
        "api_url": one.api_url,
        "share": one.share,
        "repositories": one.repositories,
        "polled_by": "this process" if one.work else "another process",
        **_forge_work(one.work, now),
        "webhooks": _webhooks(one),
    }


def _forge_work(one: ForgeWork | None, now: datetime) -> dict[str, Any]:
    if one is None:
        return {"credentials": None, "plan": None, "probes": None, "requests": None}
    return {
        "credentials": [_credential(credential, now) for credential in one.credentials],
        "plan": _plan(one.plan) if one.plan else None,
        "probes": [_probe(probe) for probe in one.probes],
        "requests": {way: _spent(spent) for way, spent in one.spent.items()},
    }


def _credential(one: Credential, now: datetime) -> dict[str, Any]:
    return {
        "name": one.name,
        "state": one.state.value,
        "reason": one.reason,
        "until": moment(one.until),
        "requests": one.requests,
        "unchanged": one.unchanged,
        "errors": one.errors,
        "budgets": [_budget(budget, now) for budget in one.budgets],
    }


def _budget(one: Budget, now: datetime) -> dict[str, Any]:
    expected = forecast(one, now)
    return {
        "resource": one.resource.value,
        "limit": one.limit,
        "remaining": one.remaining,
        "used": one.used,
        "period_s": one.period.total_seconds(),
        "reset_at": moment(one.reset_at),
        "forecast": expected
        and {"spent": expected.spent, "runs_out_at": moment(expected.runs_out_at)},
    }


def _plan(one: ForgePlan) -> dict[str, Any]:
    return {
        "is_kept": one.is_kept,
        "sentences": list(one.sentences),
        "spends": [
            {
                "resource": spend.resource.value,
                "planned_per_hour": _rounded(spend.planned),
                "granted_per_hour": _rounded(spend.granted),
            }
            for spend in one.spends
        ],
    }


def _probe(one: ProbeHealth) -> dict[str, Any]:
    return {
        "name": one.name,
        "probing": one.probing.value,
        "every_s": one.every.total_seconds(),
        "repositories": one.members,
        "covered": one.covered,
        "asked_at": moment(one.asked_at),
        "answered_at": moment(one.answered_at),
        "error": one.error,
        "failing_since": moment(one.failing_since),
        "moved": one.moved,
        "requests": one.requests,
        "points": one.points,
    }


def _spent(one: Spent) -> dict[str, int]:
    return {"requests": one.requests, "unchanged": one.unchanged, "points": one.points}


def _webhooks(one: ForgeStatus) -> dict[str, Any]:
    audit = one.audit or HookSums()
    return {
        "taken": one.takes_hooks,
        "delivered": audit.delivered,
        "late": audit.late,
        "missed": audit.missed,
        "forged": audit.forged,
        "contradicted": audit.contradicted,
        "ignored": audit.ignored,
        "pending": audit.pending,
        "median_lag_s": None if audit.median_lag_ms is None else audit.median_lag_ms / 1000,
        "last_received_at": moment(audit.last_received_at),
        "newest": [_hook(hook) for hook in one.hooks],
    }


def _hook(one: HookEntry) -> dict[str, Any]:
    return {
        "received_at": moment(one.received_at),
        "repository": one.repository_name,
        "ref": one.ref,
        "verdict": one.verdict,
        "reason": one.reason,
        "event_id": one.event_id,
        "lag_s": None if one.lag_ms is None else one.lag_ms / 1000,
    }


def storm(one: HoldEntry) -> dict[str, Any]:
    """Spell a storm."""
    return {
        "id": one.id,
        "repository": one.repository_name,
        "state": one.state,
        "changes": one.changes,
        "first_sequence": one.first_sequence,
        "last_sequence": one.last_sequence,
        "created_at": moment(one.created_at),
        "finished_at": moment(one.finished_at),
    }


def explanation(one: Explanation) -> dict[str, Any]:
    """Spell why a ref did or did not trigger."""
    return {
        "ref": one.ref,
        "watched": one.watched,
        "pattern": one.pattern,
        "commit": one.commit_id,
        "changed_at": moment(one.changed_at),
        "last_event": event(one.last_event) if one.last_event else None,
        "deliveries": [_with_attempts(delivery) for delivery in one.deliveries],
        "reasons": list(one.reasons),
    }


def overview(one: Overview) -> dict[str, Any]:
    """Spell everything at once."""
    return {
        "level": one.level,
        "sentence": one.sentence,
        "needs": [_need(need) for need in one.needs],
        "repositories": {"watched": one.watched, **one.repositories},
        "deliveries": {"owed": one.owed, "waiting": one.waiting, "held": one.held},
        "last_24h": {"changes": one.changes, "delivered": one.delivered, "dead": one.dead},
        "latency_s": latency(one.latency),
        "hours": [
            {
                "hour": moment(hour.hour),
                "changes": hour.changes,
                "delivered": hour.finished - hour.dead,
                "dead": hour.dead,
            }
            for hour in one.hours
        ],
    }


def _need(one: Need) -> dict[str, Any]:
    return {
        "code": one.code,
        "about": one.about,
        "subject": one.subject,
        "says": one.says,
        "remedy": one.remedy,
        "since": moment(one.since),
    }


def _trouble(one: Trouble | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"code": one.code, "message": one.message, "since": moment(one.since)}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
