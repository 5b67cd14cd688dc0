"""What people see when something is not there or went wrong."""

from flask import Response, make_response, render_template

from app.web import guard
from app.web.api.errors import Problem

ADVICE = {
    403: "Open the page on this server and try from there.",
    404: "It may have been deleted after the retention time, or the address has a typing error.",
    405: "Go back and use the page's own buttons.",
    409: "Go back and look at its state; it may have changed meanwhile.",
    421: "Use the address that the server was started with, or 127.0.0.1.",
    422: "Change what the address asks for.",
    500: "It has been logged under the id below.",
    503: "Try again in a few seconds; nothing is lost meanwhile.",
}


def respond(problem: Problem) -> Response:
    """Answer with a page; it asks no service, since that may be what failed."""
    html = render_template(
        "error.html",
        problem=problem,
        advice=ADVICE.get(problem.status, ""),
        request_id=guard.request_id(),
    )
    response = make_response(html, problem.status)
    response.headers.extend(problem.headers)
    return response
