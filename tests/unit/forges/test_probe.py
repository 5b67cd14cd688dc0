"""What a probe was told a moment ago is handed to one poll, while it is fresh."""

from datetime import timedelta

from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.forges.probe import FRESH_FOR_S, JustTold

SITE = Repository("site", "https://git.example.com/acme/site")
API = Repository("api", "https://git.example.com/acme/api")
REFS = {"refs/heads/main": "a" * 40}


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_it_is_handed_out_once_with_its_age() -> None:
    clock = Clock()
    just_told = JustTold(clock)
    just_told.keep(
        SITE.url, SITE.refs, REFS, at=99.0, read_by="graphql", default_branch="refs/heads/main"
    )
    clock.seconds = 102.5

    told = just_told.take(SITE)

    assert told is not None
    assert (told.refs, told.read_by, told.default_branch) == (REFS, "graphql", "refs/heads/main")
    assert (told.lag, told.requests) == (timedelta(seconds=3.5), 0)
    assert just_told.take(SITE) is None
    assert just_told.take(API) is None


def test_what_is_old_is_forgotten() -> None:
    clock = Clock()
    just_told = JustTold(clock)
    just_told.keep(SITE.url, SITE.refs, REFS, at=clock.seconds, read_by="graphql")
    clock.seconds += FRESH_FOR_S + 1
    just_told.keep(API.url, API.refs, REFS, at=clock.seconds, read_by="graphql")

    assert just_told.take(SITE) is None
    assert just_told.take(API) is not None


def test_the_answer_to_another_question_is_none() -> None:
    just_told = JustTold(Clock())
    just_told.keep(
        SITE.url, RefFilter(branches=("*",), tags=("*",)), REFS, at=100.0, read_by="graphql"
    )

    assert just_told.take(SITE) is None
