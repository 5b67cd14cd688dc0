"""What is asked by GraphQL is what GitHub's own schema knows: no field is spelled by guess.

Needs graphql-core from PyPI (the extra «receivers», or the folder in REPOSENTRY_VERIFIERS) and
@octokit/graphql-schema from npm (in the folder that REPOSENTRY_NODE_MODULES names).
"""

from functools import lru_cache
from typing import Any

import pytest

from app.forges import graphql
from app.forges.graphql import Wish
from tests.receivers.programs import find_node_modules, find_package

PACKAGE = "@octokit/graphql-schema"

pytestmark = pytest.mark.slow  # GitHub's schema is large


@lru_cache(maxsize=1)
def schema() -> Any:
    core = find_package("graphql")
    file = find_node_modules(PACKAGE) / PACKAGE / "schema.graphql"
    return core.build_schema(file.read_text("utf-8"), assume_valid=True)


@pytest.mark.parametrize("count", [1, 30, 100])
@pytest.mark.parametrize("tags", ["none", "some", "all"])
def test_every_question_is_one_that_githubs_schema_knows(count: int, tags: str) -> None:
    core = find_package("graphql")
    wishes = [
        Wish("acme", f"r{number}", tags=tags == "all" or (tags == "some" and number % 2 == 0))
        for number in range(count)
    ]
    asked = graphql.question(wishes)

    document = core.parse(asked["query"])

    assert core.validate(schema(), document) == []
    declared = document.definitions[0].variable_definitions
    assert {one.variable.name.value for one in declared} == asked["variables"].keys()


def test_a_full_question_is_worth_one_point_and_with_tags_two() -> None:
    # As GitHub counts: a hundred connections make a point; none may ask for more than 100 nodes.
    plain = graphql.question([Wish("acme", "site")] * 100)["query"]
    tagged = graphql.question([Wish("acme", "site", tags=True)] * 100)["query"]

    connections = [text.count("refs(refPrefix") for text in (plain, tagged)]
    assert connections == [1, 2]  # in each repository
    assert plain.count("first: 100") == 1
    assert len(plain) < 20_000
