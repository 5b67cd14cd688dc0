"""The forges, on their page and in the API: what they grant, what is asked, what they told."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.domain.allowance import Budget, Credential, CredentialState, Resource, Spent
from app.domain.paths import PathFilter
from app.domain.plan import ForgePlan, ProbeHealth, Probing, Spend
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.services.status.answers import RepositoryProbe
from app.settings.types import Forge, Settings
from app.web.pages.forges import CREDENTIALS_SHOWN, PROBES_SHOWN
from tests.integration.web.conftest import FORGES, Clock, FakeWatch, LiveStates, services_over
from tests.integration.web.markup import Page
from tests.integration.web.story import HOUR, MINUTE, NOON, SECOND, Story
from tests.integration.web.test_api import get
from tests.integration.web.test_pages import read

SMALL_PAGE = 60_000  # bytes
SITE = Repository(
    "acme/site",
    "https://github.com/acme/site",
    "github",
    refs=RefFilter(wants_pulls=True),
    paths=PathFilter(("services/api/**", "!**/*.md")),
)
REST = Budget(Resource.REST, 5000, 3200, 1700, HOUR, NOON + 24 * MINUTE)
MINUTELY = Budget(Resource.REST_MINUTE, 900, 640, 260, MINUTE)
TOKEN = Credential("token", CredentialState.OK, (REST, MINUTELY), None, None, 2400, 2100, 3)
REFUSED = Credential(
    "token 2",
    CredentialState.REFUSED,
    (),
    "sign-in was refused (401): the token is wrong or expired",
    NOON + 12 * MINUTE,
    1,
    0,
    1,
)
PLAN = ForgePlan(
    "github",
    spends=(
        Spend(Resource.REST_MINUTE, 24_000.0, 38_880.0),
        Spend(Resource.GRAPHQL, 2_400.0, 3_600.0),
        Spend(Resource.GIT, 60.0, None),
    ),
    sentences=("100 repositories are polled one by one, every 15 s.",),
)
PROBE = ProbeHealth(
    "the list of acme",
    "github",
    Probing.LISTING,
    timedelta(seconds=10),
    4,
    4,
    NOON - 2 * SECOND,
    NOON - 2 * SECOND,
    moved=17,
    requests=900,
    points=30,
)
SPENT = {"rest": Spent(2000, 1800, 200), "ls-refs": Spent(40, 0, 0)}

Over = Callable[..., FlaskClient]


@pytest.fixture
def watch() -> FakeWatch:
    """What a process that polls GitHub with one token would tell."""
    return FakeWatch(
        standing={"github": (TOKEN,)},
        asked={"github": SPENT},
        plans={"github": PLAN},
        healths=(PROBE,),
        probe=RepositoryProbe("the list of acme", timedelta(seconds=10), is_covering=True),
    )


@pytest.fixture
def over(empty: Story, live: LiveStates, clock: Clock, watch: FakeWatch) -> Over:
    """Return what makes a client over the story, as the process that polls or as a standby."""
    known = {"acme/site": SITE}

    def make(*, standby: bool = False, forges: dict[str, Forge] = FORGES) -> FlaskClient:
        services = services_over(
            empty.database,
            live,
            clock,
            watch=None if standby else watch,
            configured=known.get,
            forges=forges,
        )
        return create_app(Settings(forges=forges), services).test_client()

    return make


def page_of(client: FlaskClient, url: str = "/forges") -> Page:
    page = read(client, url)
    assert page.faults == []
    return page


def words(page: Page) -> str:
    return " ".join(page.text.split())


def spaced(page: Page) -> str:
    """Return a page's words with numbers apart from the words beside them."""
    return re.sub(r"(?<=[a-z])(?=\d)", " ", words(page))


def test_a_forge_has_the_promised_shape(empty: Story, over: Over) -> None:
    site = empty.repository("acme/site")
    event = empty.event(site)
    empty.hook(repository_id=site, event_id=event)

    (found,) = get(over(), "/forges")["items"]

    assert found == get(over(), "/forges/github")
    assert found["credentials"] == [
        {
            "name": "token",
            "state": "ok",
            "reason": None,
            "until": None,
            "requests": 2400,
            "unchanged": 2100,
            "errors": 3,
            "budgets": [
                {
                    "resource": "rest",
                    "limit": 5000,
                    "remaining": 3200,
                    "used": 1700,
                    "period_s": 3600.0,
                    "reset_at": "2026-11-05T12:24:00.123Z",
                    "forecast": {"spent": 3000, "runs_out_at": None},
                },
                {
                    "resource": "rest-minute",
                    "limit": 900,
                    "remaining": 640,
                    "used": 260,
                    "period_s": 60.0,
                    "reset_at": None,
                    "forecast": None,
                },
            ],
        }
    ]
    assert found["plan"]["is_kept"] is True
    assert found["plan"]["sentences"] == list(PLAN.sentences)
    assert found["plan"]["spends"][-1] == {
        "resource": "git",
        "planned_per_hour": 60.0,
        "granted_per_hour": None,
    }
    assert found["probes"][0] == {
        "name": "the list of acme",
        "probing": "listing",
        "every_s": 10.0,
        "repositories": 4,
        "covered": 4,
        "asked_at": "2026-11-05T11:59:58.123Z",
        "answered_at": "2026-11-05T11:59:58.123Z",
        "error": None,
        "failing_since": None,
        "moved": 17,
        "requests": 900,
        "points": 30,
    }
    assert found["requests"]["rest"] == {"requests": 2000, "unchanged": 1800, "points": 200}
    hooks = found["webhooks"]
    assert (hooks["delivered"], hooks["missed"], hooks["median_lag_s"]) == (1, 0, -0.7)
    assert hooks["newest"][0]["event_id"] == event
    rest = {"name", "kind", "url", "api_url", "share", "repositories", "polled_by"}
    assert found.keys() == {*rest, "credentials", "plan", "probes", "requests", "webhooks"}


def test_a_forge_that_nobody_uses_is_not_listed(empty: Story, over: Over) -> None:
    empty.repository("acme/site")
    empty.repository("acme/old", forge="gitlab", retired_at=NOON)
    signed = replace(FORGES["work"], tokens=(Secret("s3cret"),))

    alone = get(over(), "/forges")["items"]
    both = get(over(forges={**FORGES, "work": signed}), "/forges")["items"]

    assert [one["name"] for one in alone] == ["github"]
    assert [one["name"] for one in both] == ["github", "work"]
    assert get(over(), "/forges/work", 404)["code"] == "not_found"


def test_a_standby_says_that_the_other_process_knows(empty: Story, over: Over) -> None:
    empty.repository("acme/site")
    client = over(standby=True)

    (found,) = get(client, "/forges")["items"]

    assert found["polled_by"] == "another process"
    assert found["credentials"] is None
    assert "Another process polls now." in words(page_of(client))


def test_the_page_shows_what_is_left_and_where_it_leads(empty: Story, over: Over) -> None:
    empty.repository("acme/site")

    page = page_of(over())

    text = words(page)
    assert "3,200 of 5,000 left" in text
    assert "new in 24 min, 60 % used by then at this pace; 1,700 by us" in text
    assert "640 of 900 left" in text
    assert "Every repository is looked at within its interval." in text
    assert "1 probe covers 4 of 1 repositories" in text
    assert "2,400 requests, 87 % unchanged, 3 failed" in text
    assert "/repositories?forge=github" in page.links


def test_a_forge_that_answers_for_none_or_few_says_so(empty: Story, over: Over) -> None:
    empty.repository("acme/site", error_code="forge_unavailable", error_since=NOON)
    page = page_of(over())

    assert "1 repository, 1 failing" in words(page)
    assert "github▲failing" in words(page).replace(" ", "")
    assert "Every repository that answers is looked at within its interval." in words(page)
    assert "/repositories?forge=github&state=failing" in page.links

    empty.repository("acme/docs")
    text = words(page_of(over()))

    assert "2 repositories, 1 failing" in text
    assert "github●ok" in text.replace(" ", "")


def test_a_budget_that_runs_out_before_it_is_new_says_when(
    empty: Story, over: Over, watch: FakeWatch
) -> None:
    empty.repository("acme/site")
    hasty = replace(REST, remaining=1000, reset_at=NOON + 30 * MINUTE)
    watch.standing["github"] = (replace(TOKEN, budgets=(hasty,)),)

    text = words(page_of(over()))

    assert "new in 30 min, used up in 7 min at this pace" in text


def test_a_credential_that_is_refused_says_why_and_what_to_do(
    empty: Story, over: Over, watch: FakeWatch
) -> None:
    empty.repository("acme/site")
    watch.standing["github"] = (TOKEN, REFUSED)

    page = page_of(over())

    text = words(page)
    assert text.index("token 2") < text.index("3,200")
    assert "the token is wrong or expired; it is asked again in 12 min." in text
    assert "Put a new one into the configuration" in text


def test_the_overview_names_a_credential_that_is_refused(
    empty: Story, over: Over, watch: FakeWatch
) -> None:
    empty.repository("acme/site")
    watch.standing["github"] = (TOKEN, REFUSED)
    signed = replace(FORGES["github"], tokens=(Secret("s3cret"), Secret("0ther")))
    client = over(forges={"github": signed})

    page = page_of(client, "/")

    (need,) = get(client, "/status")["needs"]
    assert "github does not take its token 2: sign-in was refused (401)" in words(page)
    assert "/forges" in page.links
    assert (need["code"], need["about"], need["subject"]) == (
        "credential_refused",
        "forge",
        "github",
    )


def test_a_plan_that_keeps_not_every_promise_says_so(
    empty: Story, over: Over, watch: FakeWatch
) -> None:
    empty.repository("acme/site")
    watch.plans["github"] = replace(PLAN, is_kept=False, sentences=("It takes two tokens.",))

    text = words(page_of(over()))

    assert "stretched Not every repository can be looked at within its interval." in text
    assert "It takes two tokens." in text


def test_a_probe_that_fails_comes_first_and_the_page_stays_small(
    empty: Story, over: Over, watch: FakeWatch
) -> None:
    for number in range(6):
        site = empty.repository(f"acme/site-{number}")
        empty.hook(repository_id=site, reason="polling found nothing of it " * 6)
    broken = replace(PROBE, name="the list of zeta", error="timed out after 10 s", covered=0)
    late = replace(PROBE, name="the list of yeta", covered=0)
    watch.healths = (
        *(replace(PROBE, name=f"the list of org-{n}") for n in range(150)),
        broken,
        late,
    )
    watch.standing["github"] = tuple(replace(TOKEN, name=f"token {n}") for n in range(30))
    client = over()

    page, size = page_of(client), len(client.get("/forges").data)

    text = words(page)
    assert text.index("the list of zeta") < text.index("the list of yeta")
    assert text.index("the list of yeta") < text.index("the list of org-0")
    assert "timed out after 10 s" in text
    assert "1 fails and 1 is late, so what these should cover is polled one by one" in text
    assert f"{PROBES_SHOWN} are shown" in text
    assert f"{30 - CREDENTIALS_SHOWN} more credentials" in text
    assert "/api/v1/forges/github" in page.links
    assert size < SMALL_PAGE


def test_webhooks_are_held_against_polling(empty: Story, over: Over) -> None:
    site = empty.repository("acme/site")
    empty.hook(repository_id=site)
    empty.hook(repository_id=site, verdict="missed", lag_ms=None, delivery=None)
    empty.hook(verdict="forged", ref=None, lag_ms=None, reason="its signature is wrong")

    page = page_of(over())

    text = words(page)
    assert "Missed 1 Contradicted 0 Forged 1 Median lag 700 ms before polling" in spaced(page)
    assert "none of ours" in text
    assert "its signature is wrong" in text


def test_a_forge_whose_webhooks_are_awaited_says_where_they_go(empty: Story, over: Over) -> None:
    empty.repository("acme/site")
    expecting = replace(FORGES["github"], hook_secret=Secret("s3cret-of-the-hook"))

    html = over(forges={"github": expecting}).get("/forges").text

    assert "/api/v1/hooks/github" in html
    assert "s3cret" not in html


def test_without_repositories_the_page_says_what_to_do(over: Over) -> None:
    assert "No repository is watched" in words(page_of(over()))


def test_a_repository_says_what_watches_it(empty: Story, over: Over) -> None:
    empty.repository("acme/site", interval_s=900.0)
    client = over()

    text = words(page_of(client, "/repositories/acme/site"))
    found = get(client, "/repositories/acme/site")

    assert "the list of acme, asked every 10 s" in text
    assert "Its own polls every 15 min, by REST" in text.replace("pollsevery", "polls every")
    assert "services/api/**" in text
    assert "their newest commits are watched, by git alone" in text
    assert found["paths"] == ["services/api/**", "!**/*.md"]
    assert found["pull_requests"] is True
    assert found["watching"] == {
        "promised_s": 15.0,
        "way": "rest",
        "probe": {"name": "the list of acme", "every_s": 10.0, "is_covering": True},
        "takes_hooks": False,
    }


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (
            {"moved_to": "https://github.com/acme/web"},
            "It has moved to https://github.com/acme/web",
        ),
        ({"is_archived": True}, "It is archived"),
        ({"is_archived": True, "is_disabled": True}, "Its forge has disabled it"),
    ],
)
def test_a_repository_says_what_its_forge_tells_of_it(
    empty: Story, over: Over, facts: dict[str, Any], said: str
) -> None:
    empty.repository("acme/site", facts=facts)
    client = over()

    assert said in words(page_of(client, "/repositories/acme/site"))
    found = get(client, "/repositories/acme/site")
    assert {name: found[name] for name in facts} == facts


@pytest.mark.parametrize(
    ("reason", "said"),
    [("probe", "a probe saw it move"), ("hook", "a webhook of the forge"), ("odd", "odd")],
)
def test_a_poll_says_why_it_took_place(empty: Story, over: Over, reason: str, said: str) -> None:
    empty.poll(empty.repository("acme/site"), reason=reason)

    assert said in page_of(over(), "/repositories/acme/site").text


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (
            {"verdict": "missed", "files": ["a.md"], "total": 1},
            "none of the 1 that changed matches",
        ),
        (
            {"verdict": "missed", "files": [], "total": 0},
            "it touches none of the repository's paths",
        ),
        ({"verdict": "matched", "files": ["a.md"], "total": 300}, "300 changed, and some match"),
        ({"verdict": "unknown", "files": [], "total": None}, "paths could not be told"),
    ],
)
def test_an_event_says_what_its_files_came_to(
    empty: Story, over: Over, paths: dict[str, Any], said: str
) -> None:
    site = empty.repository("acme/site")
    event = empty.event(site, paths=paths, pusher={"name": "Ada", "username": "ada"})

    text = words(page_of(over(), f"/events/{event}"))

    assert said in text
    assert ("a.md" in text) is bool(paths["files"])
    assert "ada Ada" in text
