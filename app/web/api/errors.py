"""Which HTTP status an error has, and how it is told to programs (RFC 9457)."""

import json
from dataclasses import dataclass, field
from http import HTTPStatus

from flask import Response
from werkzeug.exceptions import HTTPException

from app.domain.errors import InputInvalid, RepoSentryError
from app.web import guard

# Each code of the program's errors; a test holds this to the tree in app/domain/errors.py.
STATUSES = {
    "internal": 500,
    "configuration_invalid": 422,
    "not_found": 404,
    "validation_failed": 422,
    "conflict": 409,
    "payload_unrenderable": 500,
    "forge_error": 502,
    "forge_unavailable": 502,
    "forge_rate_limited": 503,
    "forge_busy": 503,
    "forge_denied": 502,
    "forge_sign_in_refused": 502,
    "forge_answer_invalid": 502,
    "storage_error": 500,
    "storage_unavailable": 503,
    "storage_outdated": 503,
    "lease_lost": 503,
}

# For what HTTP itself refuses; a status that is not here has its own name as its code.
CODES = {
    400: "bad_request",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    421: "misdirected_request",
}

# Where HTTP's own words would say too much, or send someone to check a spelling.
DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
}

# A database that restarts, or another process that takes over, needs a few seconds.
RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as callers may see it; ``errors`` maps each field to what is wrong with it."""

    status: int
    code: str
    detail: str
    errors: dict[str, str] = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def title(self) -> str:
        """The status in HTTP's own words."""
        return HTTPStatus(self.status).phrase


def describe(error: Exception) -> Problem:
    """Say what callers may know of an error; of an unexpected one that is nothing."""
    if isinstance(error, RepoSentryError):
        return _describe_ours(error)
    if isinstance(error, HTTPException) and error.code is not None:
        code = CODES.get(error.code, HTTPStatus(error.code).name.lower())
        allowed = [pair for pair in error.get_headers() if pair[0] in {"Allow", "Location"}]
        detail = DETAILS.get(error.code, error.description) or ""
        return Problem(error.code, code, detail, headers=tuple(allowed))
    return Problem(500, "internal", "Something went wrong here; the log tells more by this id.")


def respond(problem: Problem) -> Response:
    """Answer with a problem."""
    body = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": guard.request_id(),
    }
    if problem.errors:
        body["errors"] = [
            {"field": name, "message": message} for name, message in problem.errors.items()
        ]
    response = Response(
        json.dumps(body), status=problem.status, content_type="application/problem+json"
    )
    response.headers.extend(problem.headers)
    return response


def _describe_ours(error: RepoSentryError) -> Problem:
    status = STATUSES.get(error.code, 500)
    mistakes = error.mistakes if isinstance(error, InputInvalid) else {}
    headers = (("Retry-After", str(RETRY_AFTER_S)),) if error.retryable else ()
    return Problem(status, error.code, str(error), mistakes, headers)
