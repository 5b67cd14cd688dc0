"""Which refs a repository's patterns choose."""

import pytest
from hypothesis import given, strategies as st

from app.domain.refs import Decision, RefFilter, compile_pattern, short_name


def chosen(patterns: tuple[str, ...], *names: str) -> list[str]:
    made = RefFilter(branches=patterns)
    return [name for name in names if made.watches(f"refs/heads/{name}")]


def test_a_star_crosses_slashes() -> None:
    assert chosen(("*",), "main", "feature/x/y") == ["main", "feature/x/y"]
    assert chosen(("feature/*",), "main", "feature/x/y") == ["feature/x/y"]


def test_the_last_pattern_that_matches_wins() -> None:
    patterns = ("release-*", "!release-old-*", "release-old-1")

    assert chosen(patterns, "release-2", "release-old-1", "release-old-2") == [
        "release-2",
        "release-old-1",
    ]


def test_without_a_pattern_nothing_is_watched() -> None:
    assert RefFilter(branches=(), tags=()).decide("refs/heads/main") == Decision(
        watched=False, pattern=None
    )


def test_a_pattern_must_match_the_whole_name_and_its_case() -> None:
    assert chosen(("main",), "main", "domain", "main2", "Main") == ["main"]


def test_a_regular_expression_may_match_anywhere() -> None:
    assert chosen(("/^v[0-9]+$/", "/hot/"), "v1", "v1x", "a-hotfix") == ["v1", "a-hotfix"]
    assert chosen(("*", "!/^wip/"), "main", "wip/x") == ["main"]


@pytest.mark.parametrize("name", ["[x", "a]b", "a{b}", "a.b", "a+b", "naïve", "ветка", "a\nb"])
def test_odd_names_are_matched_as_they_stand(name: str) -> None:
    assert chosen(("*",), name) == [name]


def test_tags_and_branches_have_patterns_of_their_own() -> None:
    made = RefFilter(branches=("main",), tags=("v*",))

    assert made.watches("refs/tags/v1")
    assert not made.watches("refs/tags/main")
    assert not made.watches("refs/heads/v1")
    assert not made.watches("refs/notes/commits")


@pytest.mark.parametrize(
    ("branches", "tags", "prefixes"),
    [
        (("main", "release-*"), (), ("refs/heads/main", "refs/heads/release-")),
        (("main", "main-*"), (), ("refs/heads/main",)),
        (("/x/",), (), ("refs/heads/",)),
        (("*",), ("*",), ("refs/tags/", "refs/heads/")),
        (("a[bc]",), (), ("refs/heads/a",)),
        ((), (), ()),
    ],
)
def test_a_server_is_asked_only_for_what_can_match(
    branches: tuple[str, ...], tags: tuple[str, ...], prefixes: tuple[str, ...]
) -> None:
    assert set(RefFilter(branches, tags).prefixes()) == set(prefixes)


def test_whatever_is_watched_has_one_of_the_prefixes() -> None:
    made = RefFilter(branches=("rel*", "/^v/", "?x", "!rel-old"), tags=("v[12]*",))
    refs = ["refs/heads/rel", "refs/heads/v9", "refs/heads/ax", "refs/tags/v1.2", "refs/tags/v2"]

    assert all(made.watches(ref) and ref.startswith(made.prefixes()) for ref in refs)


def test_short_names_are_what_people_say() -> None:
    assert short_name("refs/heads/refs/heads/x") == "refs/heads/x"
    assert compile_pattern("refs/heads/x").search(short_name("refs/heads/refs/heads/x"))


def test_pull_requests_are_watched_all_or_none_whatever_the_branches() -> None:
    pulls = RefFilter(branches=("main",), wants_pulls=True)

    assert pulls.decide("refs/pull/7/head") == Decision(watched=True, pattern=None)
    assert pulls.watches("refs/merge-requests/8/head")
    assert pulls.watches("refs/pull-requests/9/from")
    assert not RefFilter(branches=("*",), tags=("*",)).watches("refs/pull/7/head")


@pytest.mark.parametrize(
    "ref", ["refs/pull/7/merge", "refs/pull/x/head", "refs/pull/\u0667/head", "refs/pull/7/head/x"]
)
def test_what_only_looks_like_a_pull_request_is_not_watched(ref: str) -> None:
    assert not RefFilter(wants_pulls=True).watches(ref)


def test_pull_requests_are_asked_for_by_every_name_they_have() -> None:
    assert RefFilter(branches=("main",), wants_pulls=True).prefixes() == (
        *("refs/heads/main", "refs/pull/", "refs/merge-requests/", "refs/pull-requests/"),
    )


def test_to_who_takes_some_branches_only_a_pull_request_is_one_of_them() -> None:
    assert RefFilter(branches=("pull/*",)).takes("refs/pull/7/head")
    assert not RefFilter(branches=("*", "!pull/*")).takes("refs/pull/7/head")
    assert RefFilter(branches=("main",)).takes("refs/heads/main")


PATTERNS = (
    "*",
    "main",
    "v*",
    "*-x",
    "a?",
    "[ab]*",
    "/^v/",
    "/n$/",
    "!main",
    "!v*",
    "!*",
    "!/a/",
    "",
)


@given(
    branches=st.lists(st.sampled_from(PATTERNS), max_size=4).map(tuple),
    tags=st.lists(st.sampled_from(PATTERNS), max_size=4).map(tuple),
    wants_pulls=st.booleans(),
    names=st.lists(st.sampled_from(["main", "v1", "v", "a", "ab", "b-x", "man", "*", "main\n"])),
)
def test_of_many_refs_those_are_chosen_that_are_watched_singly(
    branches: tuple[str, ...], tags: tuple[str, ...], wants_pulls: bool, names: list[str]
) -> None:
    made = RefFilter(branches, tags, wants_pulls)
    refs = {f"refs/{sort}/{name}": "a1" for name in names for sort in ("heads", "tags", "notes")}
    refs |= {"refs/pull/7/head": "b2", "refs/pull/7/merge": "b2"}

    assert made.choose(refs) == {ref: at for ref, at in refs.items() if made.watches(ref)}
