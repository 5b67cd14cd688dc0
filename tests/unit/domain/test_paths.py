"""Which files a repository's paths choose, and that no pattern takes long to say so."""

import re
import time

import pytest
from hypothesis import example, given, settings, strategies as st

from app.domain.paths import MOST_LISTED, Glob, PathFilter, Touched, Verdict


def chosen(patterns: tuple[str, ...], *paths: str) -> list[str]:
    made = PathFilter(patterns)
    return [path for path in paths if made.matches(path)]


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*", ["README", ".env"], ["docs/a"]),
        ("**", ["README", "docs/a/b"], []),
        ("*.md", ["README.md", ".md"], ["docs/a.md", "README.mdx"]),
        ("**.md", ["README.md", "docs/a.md"], ["README"]),
        ("**/*.md", ["README.md", "docs/a.md", "docs/b/c.md"], ["README"]),
        ("docs/*", ["docs/a"], ["docs/a/b", "docs", "xdocs/a"]),
        ("docs/**", ["docs/a", "docs/a/b", "docs/"], ["docs", "doc/a"]),
        ("docs/", ["docs/a", "docs/a/b"], ["docs", "x/docs/a"]),
        ("/docs/**", ["docs/a"], ["x/docs/a"]),
        ("docs/**/a", ["docs/a", "docs/b/a", "docs/b/c/a"], ["docs/ba", "docs/b/ca"]),
        ("**/docs/**", ["docs/a", "x/docs/a", "x/y/docs/z/a"], ["xdocs/a"]),
        ("**/**/a", ["a", "b/a", "b/c/a"], ["ba"]),
        ("a?c", ["abc"], ["a/c", "ac", "abbc"]),
        ("a**c", ["ac", "a/c", "a/b/c"], ["ac/"]),
        ("a/***/c", ["a/c", "a/b/c"], ["ac"]),
        ("app/[slug]/page.tsx", ["app/[slug]/page.tsx"], ["app/s/page.tsx"]),
        ("a.b+c(d)", ["a.b+c(d)"], ["axb+c(d)"]),
        ("日本/*", ["日本/é"], ["日本"]),
        ("Docs/*", ["Docs/a"], ["docs/a"]),
    ],
)
def test_a_pattern_means(pattern: str, matching: list[str], others: list[str]) -> None:
    assert chosen((pattern,), *matching, *others) == matching


def test_the_last_pattern_that_matches_wins() -> None:
    patterns = ("services/**", "!**/*.md", "services/api/CHANGELOG.md")

    assert chosen(
        patterns, "services/a.go", "services/a.md", "services/api/CHANGELOG.md", "x.go"
    ) == ["services/a.go", "services/api/CHANGELOG.md"]


def test_without_a_pattern_the_filter_is_off() -> None:
    assert not PathFilter()
    assert PathFilter(("**",))


def test_a_change_touches_the_paths_by_one_file_or_by_none_or_nobody_knows() -> None:
    made = PathFilter(("src/**",))
    many = [f"docs/{number}" for number in range(MOST_LISTED + 20)]

    assert made.touched(["a", "src/b"]) == Touched(Verdict.MATCHED, ("a", "src/b"), 2)
    assert made.touched([]) == Touched(Verdict.MISSED, (), 0)
    assert made.touched(None) == Touched(Verdict.UNKNOWN)
    assert made.touched(many) == Touched(Verdict.MISSED, tuple(many[:MOST_LISTED]), len(many))
    assert made.touched([*many, "src/b"]).verdict is Verdict.MATCHED


def as_expression(pattern: str) -> re.Pattern[str]:
    """Spell a pattern as a regular expression, which is slow and plain to see through."""
    pattern = pattern.removeprefix("/")
    if pattern.endswith("/"):
        pattern += "**"
    words = re.findall(r"(?:(?<![^/])\*\*+/)+|\*\*+|.", pattern, re.DOTALL)
    spelled = {"*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(
            "(?:.*/)?"
            if word.endswith("*/")
            else ".*"
            if word.startswith("**")
            else spelled.get(word, re.escape(word))
            for word in words
        ),
        re.DOTALL,
    )


@settings(max_examples=1000, deadline=None)
@example(pattern="**/**", path="")
@example(pattern="/**/", path="a/")
@given(
    pattern=st.text(st.sampled_from("ab/*?."), min_size=1, max_size=10),
    path=st.text(st.sampled_from("ab/."), max_size=8),
)
def test_a_pattern_means_what_its_regular_expression_means(pattern: str, path: str) -> None:
    assert Glob(pattern).matches(path) == bool(as_expression(pattern).fullmatch(path))


@pytest.mark.parametrize("pattern", ["*a" * 200 + "b", "**/a" * 100 + "/b", "**a" * 150 + "b"])
def test_no_pattern_takes_long(pattern: str) -> None:
    glob = Glob(pattern)
    paths = ["a" * 4000, "a/" * 2000]
    began = time.process_time()

    assert not any(glob.matches(path) for path in paths)

    assert time.process_time() - began < 1
