"""What is asked by GraphQL, and how answers are taken apart."""

from typing import Any

import pytest

from app.domain.errors import ForgeAnswerInvalid
from app.forges import graphql
from app.forges.graphql import Told, Wish

SITE, API = Wish("acme", "site"), Wish("acme", "api", tags=True)


def refs(*names: str, is_more: bool = False) -> dict[str, Any]:
    return {
        "totalCount": len(names),
        "pageInfo": {"hasNextPage": is_more},
        "nodes": [{"name": name, "target": {"oid": "a" * 40}} for name in names],
    }


def repository(name: str = "acme/site", **more: Any) -> dict[str, Any]:
    return {
        "databaseId": 7,
        "nameWithOwner": name,
        "pushedAt": "2026-11-01T12:00:00Z",
        "isArchived": False,
        "isDisabled": False,
        "defaultBranchRef": {"name": "main"},
        "branches": refs("main"),
    } | more


def error(sort: str, *path: str, message: str = "") -> dict[str, Any]:
    return {"type": sort, "path": list(path), "message": message}


def test_no_name_becomes_part_of_the_question() -> None:
    evil = Wish('x") { id } }', "$o0}")

    asked = graphql.question([evil, SITE])

    assert evil.owner not in asked["query"]
    assert evil.name not in asked["query"]
    assert asked["query"] == graphql.question([SITE, SITE])["query"]
    assert asked["variables"] == {
        "o0": 'x") { id } }',
        "n0": "$o0}",
        "o1": "acme",
        "n1": "site",
    }


def test_tags_are_asked_for_where_they_are_wanted() -> None:
    assert "refs/tags/" not in graphql.question([SITE])["query"]
    assert "refs/tags/" in graphql.question([SITE, API])["query"]


def test_each_repository_is_told_with_its_refs() -> None:
    data = {
        "rateLimit": {"cost": 2},
        "r0": repository(),
        "r1": repository("acme/api", tags=refs("v1"), defaultBranchRef=None, branches=refs()),
    }

    answer = graphql.take_apart({"data": data}, [SITE, API])

    site, api = answer.told
    assert isinstance(site, Told)
    assert isinstance(api, Told)
    assert site.refs == {"refs/heads/main": "a" * 40}
    assert site.default_branch == "refs/heads/main"
    assert (api.refs, api.default_branch) == ({"refs/tags/v1": "a" * 40}, None)
    assert answer.cost == 2


def test_refs_that_do_not_fit_on_a_page_are_not_told() -> None:
    found = repository(branches=refs("main", is_more=True))

    (told,) = graphql.take_apart({"data": {"r0": found}}, [SITE]).told

    assert isinstance(told, Told)
    assert told.refs is None


@pytest.mark.parametrize(
    "change",
    [
        {"pushedAt": None},
        {"isArchived": True},
        {"branches": refs("main", "next")},
        {"branches": refs("main") | {"totalCount": 101}},
        {"nameWithOwner": "acme/web"},
    ],
    ids=",".join,
)
def test_a_mark_differs_where_anything_does(change: dict[str, Any]) -> None:
    (one,) = graphql.take_apart({"data": {"r0": repository()}}, [SITE]).told
    (same,) = graphql.take_apart({"data": {"r0": repository()}}, [SITE]).told
    (other,) = graphql.take_apart({"data": {"r0": repository(**change)}}, [SITE]).told

    assert isinstance(one, Told)
    assert isinstance(same, Told)
    assert isinstance(other, Told)
    assert one.mark == same.mark != other.mark


@pytest.mark.parametrize(
    "found",
    [
        None,
        7,
        {},
        repository(branches=None),
        repository(branches={"nodes": [None], "pageInfo": {"hasNextPage": False}}),
        repository(branches=refs("main") | {"nodes": [{"name": "main", "target": None}]}),
        repository(nameWithOwner=7),
    ],
)
def test_what_is_not_as_it_should_be_is_not_told(found: Any) -> None:
    answer = graphql.take_apart({"data": {"r0": found, "r1": repository()}}, [SITE, SITE])

    assert answer.told[0] is None
    assert answer.told[1] is not None


def test_an_error_deep_in_a_repository_is_about_all_of_it() -> None:
    found = {"data": {"r0": repository()}, "errors": [error("INTERNAL", "r0", "branches")]}

    assert graphql.take_apart(found, [SITE]).told == (None,)


@pytest.mark.parametrize("sort", sorted(graphql.TOO_MUCH))
def test_a_question_that_was_too_large_tells_what_came(sort: str) -> None:
    found = {"data": {"r0": repository(), "r1": None}, "errors": [error(sort, "r1")]}

    answer = graphql.take_apart(found, [SITE, SITE])

    assert answer.is_too_much
    assert [told is not None for told in answer.told] == [True, False]


def test_a_question_that_took_too_long_was_too_large() -> None:
    said = "Something went wrong while executing your query. This may be the result of a timeout."

    answer = graphql.take_apart({"data": None, "errors": [{"message": said}]}, [SITE])

    assert answer.is_too_much
    assert answer.told == (None,)


@pytest.mark.parametrize("found", [[], 7, {}, {"data": None}, {"data": {}, "errors": []}])
def test_what_is_no_answer_is_refused(found: Any) -> None:
    with pytest.raises(ForgeAnswerInvalid):
        graphql.take_apart(found, [SITE])


def test_what_is_as_it_was_is_told_by_its_mark_alone() -> None:
    (first,) = graphql.take_apart({"data": {"r0": repository()}}, [SITE]).told
    assert isinstance(first, Told)

    (same,) = graphql.take_apart({"data": {"r0": repository()}}, [SITE], [first.mark]).told

    assert same == first.mark


def test_a_question_that_an_older_server_does_not_understand_is_refused_with_its_words() -> None:
    said = "Field 'isDisabled' doesn't exist on type 'Repository'"
    found = {"errors": [{"path": ["fragment R", "isDisabled"], "message": said}]}

    with pytest.raises(ForgeAnswerInvalid, match=said):
        graphql.take_apart(found, [SITE])
