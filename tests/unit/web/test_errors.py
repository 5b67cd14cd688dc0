"""Every error has its status, and none tells more than it should."""

import pytest

from app.domain import errors as tree
from app.domain.errors import RepoSentryError
from app.web.api.errors import STATUSES, describe


def every(kind: type[RepoSentryError]) -> list[type[RepoSentryError]]:
    return [kind, *(below for one in kind.__subclasses__() for below in every(one))]


def test_each_code_of_the_errors_has_a_status_and_no_other_has() -> None:
    codes = {kind.code for kind in every(RepoSentryError) if kind.__module__ == tree.__name__}

    assert codes == STATUSES.keys()


@pytest.mark.parametrize("error", [RuntimeError("s3cret"), KeyError("s3cret")])
def test_an_unexpected_error_is_not_described(error: Exception) -> None:
    problem = describe(error)

    assert (problem.status, problem.code) == (500, "internal")
    assert "s3cret" not in problem.detail
