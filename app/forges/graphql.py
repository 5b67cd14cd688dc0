"""GitHub's GraphQL API: the refs of many repositories by one question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import repeat
from typing import Any

from app.domain.errors import ForgeAnswerInvalid
from app.domain.refs import BRANCH_PREFIX, TAG_PREFIX
from app.domain.repository import LONGEST_URL
from app.forges.listing import decode_ref

WAY = "graphql"
PAGE = 100  # the most that GitHub lists of one connection

# What GitHub calls an error after which fewer repositories at once may be answered.
TOO_MUCH = frozenset({"RESOURCE_LIMITS_EXCEEDED", "MAX_NODE_LIMIT_EXCEEDED", "EXECUTION_TIMEOUT"})

# Names are variables: whatever a repository is called, it can never become part of the question.
FRAGMENTS = f"""
fragment R on Repository {{
  databaseId nameWithOwner pushedAt isArchived isDisabled defaultBranchRef {{ name }}
  branches: refs(refPrefix: "{BRANCH_PREFIX}", first: {PAGE}) {{ ...P }}
}}
fragment P on RefConnection {{
  totalCount pageInfo {{ hasNextPage }} nodes {{ name target {{ oid }} }}
}}"""
WITH_TAGS = f"""
fragment T on Repository {{
  ...R
  tags: refs(refPrefix: "{TAG_PREFIX}", first: {PAGE}) {{ ...P }}
}}"""


@dataclass(frozen=True, slots=True)
class Wish:
    """A repository to ask about, and whether its tags are wanted too."""

    owner: str
    name: str
    tags: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """One repository as GitHub told it.

    ``mark`` is equal as long as nothing of the answer changes. ``refs`` is None where some did not
    fit on a page. ``pushed_at`` is GitHub's own spelling, to the second; None before a first push.
    """

    full_name: str
    mark: bytes
    pushed_at: str | None
    refs: Mapping[str, str] | None = None
    default_branch: str | None = None
    is_archived: bool = False
    is_disabled: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer taken apart: what was told of each wish, in their order; None: nothing.

    Where it is as it was the last time, its mark alone. ``is_too_much`` says that some were left
    out since the question was too large. ``cost`` counts points.
    """

    told: tuple[Told | bytes | None, ...]
    cost: int = 1
    is_too_much: bool = False


def address(api_url: str) -> str:
    """Return where GraphQL is, beside a REST API.

    >>> address("https://api.github.com"), address("https://git.example.com/api/v3")
    ('https://api.github.com/graphql', 'https://git.example.com/api/graphql')
    """
    return api_url.rstrip("/").removesuffix("/v3") + "/graphql"


def question(wishes: Sequence[Wish]) -> dict[str, Any]:
    """Return the body that asks for these repositories, as JSON spells it."""
    variables = {}
    for number, wish in enumerate(wishes):
        variables[f"o{number}"], variables[f"n{number}"] = wish.owner, wish.name
    return {"query": _text(tuple(wish.tags for wish in wishes)), "variables": variables}


@lru_cache(maxsize=64)  # a choice: the same few sizes are asked again and again
def _text(tags: tuple[bool, ...]) -> str:
    names = "".join(f"$o{n}: String!, $n{n}: String!, " for n in range(len(tags)))
    asked = "\n".join(
        f"  r{n}: repository(owner: $o{n}, name: $n{n}, followRenames: true) "
        f"{{ ...{'T' if wants else 'R'} }}"
        for n, wants in enumerate(tags)
    )
    # What remains is told by the headers; here it would make every answer another.
    limit = "rateLimit { cost nodeCount }"
    fragments = FRAGMENTS + (WITH_TAGS if any(tags) else "")
    return f"query({names.rstrip(', ')}) {{\n  {limit}\n{asked}\n}}{fragments}"


def take_apart(
    found: Any, wishes: Sequence[Wish], marks: Sequence[bytes | None] | None = None
) -> Answer:
    """Read the JSON of an answer with status 200, which may hold errors beside data.

    A repository about which there was any error is told nothing of: what is missing would look
    deleted. ``marks`` are what each was known by the last time.

    Raises:
        ForgeAnswerInvalid: It is no answer to the question.
    """
    if not isinstance(found, dict):
        raise ForgeAnswerInvalid("GitHub's GraphQL answered JSON of another shape than documented")
    data, errors = found.get("data"), found.get("errors")
    failures = [one for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
    data = data if isinstance(data, dict) else {}
    if not data and not failures:
        raise ForgeAnswerInvalid("GitHub's GraphQL answered without data")
    ailing = {_first(one) for one in failures}
    told = tuple(
        None if f"r{number}" in ailing else _told(data.get(f"r{number}"), wish, before)
        for number, (wish, before) in enumerate(zip(wishes, marks or repeat(None), strict=False))
    )
    # An error about nothing in particular is how a question that took too long is answered.
    is_vague = None in told and any(_first(one) is None for one in failures)
    is_too_much = any(one.get("type") in TOO_MUCH for one in failures) or is_vague
    if not data and not is_too_much:
        raise ForgeAnswerInvalid(f"GitHub's GraphQL refused the question: {_said(failures[0])}")
    return Answer(told, _cost(data), is_too_much=is_too_much)


def _said(error: Mapping[str, Any]) -> str:
    text = error.get("message")
    shown = text if isinstance(text, str) else ""
    return "".join(c if c.isprintable() else " " for c in shown).strip()[:300]


def _first(error: Mapping[str, Any]) -> str | None:
    """Return which part of the question an error is about."""
    path = error.get("path")
    return path[0] if isinstance(path, list) and path and isinstance(path[0], str) else None


def _cost(data: Mapping[str, Any]) -> int:
    limit = data.get("rateLimit")
    cost = limit.get("cost") if isinstance(limit, dict) else None
    return cost if isinstance(cost, int) and cost >= 0 else 1


def _told(found: Any, wish: Wish, before: bytes | None) -> Told | bytes | None:
    """Read one repository; None where something is not as it should be."""
    if found is None:
        return None
    mark = blake2b(repr(found).encode("utf-8", "backslashreplace"), digest_size=16).digest()
    if mark == before:
        return mark
    try:
        lists = [(BRANCH_PREFIX, found["branches"])]
        if wish.tags:
            lists.append((TAG_PREFIX, found["tags"]))
        is_whole = not any(listed["pageInfo"]["hasNextPage"] for _, listed in lists)
        default = found["defaultBranchRef"]
        pairs = [
            (decode_ref((prefix + ref["name"]).encode("utf-8", "surrogatepass")), _id(ref))
            for prefix, listed in lists
            for ref in listed["nodes"]
        ]
        return Told(
            full_name=(found["nameWithOwner"] + "")[:LONGEST_URL],
            mark=mark,
            pushed_at=found["pushedAt"],
            refs=dict(pairs) if is_whole else None,
            default_branch=BRANCH_PREFIX + default["name"] if default else None,
            is_archived=bool(found["isArchived"]),
            is_disabled=bool(found["isDisabled"]),
        )
    except (KeyError, TypeError, AttributeError):
        return None


def _id(ref: Mapping[str, Any]) -> str:
    oid: str = ref["target"]["oid"] + ""
    return oid
