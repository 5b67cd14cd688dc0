"""The form that asks for single branches by their names, where a forge has one.

It suits repositories of which few branches are watched, all by their names: the answer is a line
long, however many branches there are.
"""

from app.domain.refs import RefFilter

# What a validator calls a branch's commit, before the branch's name.
KEY = "branch "


def literal_branches(wanted: RefFilter, *, most: int = 1) -> tuple[str, ...]:
    """Return the branches that are watched, where they are told by name, and few; else none.

    >>> literal_branches(RefFilter(branches=("main",)))
    ('main',)
    >>> literal_branches(RefFilter(branches=("main", "next")))
    ()
    >>> literal_branches(RefFilter(branches=("*", "!wip")), most=5)
    ()
    >>> literal_branches(RefFilter(branches=("main",), tags=("v*",)))
    ()
    """
    names = wanted.branches
    if wanted.tags or wanted.wants_pulls or not 0 < len(names) <= most:
        return ()
    return names if all(map(_is_literal, names)) else ()


def _is_literal(pattern: str) -> bool:
    is_regex = pattern.startswith("/") and pattern.endswith("/")
    return bool(pattern) and not is_regex and not set(pattern) & set("!*?[")
