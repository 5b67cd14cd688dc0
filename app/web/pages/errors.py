"""What people see when something is not there or went wrong."""

from flask import Response, make_response, render_template

from app.web import guard
from app.web.api.errors import Problem

# By status: what has happened, in a person's words, and what to do now.
WORDS = {
    400: ("That cannot be asked", "Go back and try again."),
    403: ("Refused", "Open the page on this server and try from there."),
    404: ("Not here", "It may have grown too old and been deleted, or the address is mistyped."),
    405: ("Not like this", "Go back and use the page's own buttons."),
    409: ("Not in this state", "Go back and look; it may have changed meanwhile."),
    421: ("Wrong address", "Use the address that the server was started with, or 127.0.0.1."),
    422: ("That cannot be asked", "Change what the address asks for."),
    500: ("Something went wrong here", "It is in the log, under the id below."),
    503: ("Not available just now", "Try again in a few seconds; nothing is lost meanwhile."),
}


def respond(problem: Problem) -> Response:
    """Answer with a page; it asks no service, since that may be what failed."""
    title, advice = WORDS.get(problem.status, (problem.title, ""))
    html = render_template(
        "error.html",
        problem=problem,
        title=title,
        advice=advice,
        request_id=guard.request_id(),
    )
    response = make_response(html, problem.status)
    response.headers.extend(problem.headers)
    return response
