"""What an error looks like: a problem for programs, a page for people."""

import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from app.domain.errors import RepoSentryError
from app.web import guard
from app.web.api.errors import describe, respond as respond_to_program
from app.web.pages.errors import respond as respond_to_person

log = logging.getLogger(__name__)

# Where programs ask; everything else is for people.
FOR_PROGRAMS = ("/api/", "/health", "/metrics")


def install(app: Flask) -> None:
    """Answer every error of the application in the form that suits who asked."""

    @app.errorhandler(Exception)
    def answer(error: Exception) -> Response:
        problem = describe(error)
        if problem.status >= 500:  # noqa: PLR2004 - HTTP's own class
            _report(error)
        if (request.path + "/").startswith(FOR_PROGRAMS):
            return respond_to_program(problem)
        return respond_to_person(problem)


def _report(error: Exception) -> None:
    """Tell the operator what the caller is not told."""
    expected = isinstance(error, (RepoSentryError, HTTPException))
    log.error(
        "request failed",
        extra={"path": request.path, "request_id": guard.request_id(), "error": str(error)},
        exc_info=None if expected else error,
    )
