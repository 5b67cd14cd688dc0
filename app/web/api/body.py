"""A request's JSON body, read strictly."""

from typing import Any

from flask import request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType


def read_body() -> Any:
    """Return the body's JSON value; an empty body is an empty object.

    Raises:
        UnsupportedMediaType: It does not say that it is JSON.
        BadRequest: It is not JSON.
    """
    if not request.get_data(cache=True):
        return {}
    if not request.is_json:
        raise UnsupportedMediaType("A body must be application/json.")
    try:
        return request.get_json()
    except (BadRequest, RecursionError) as error:
        raise BadRequest("The body is not valid JSON.") from error
