"""Links to a forge have the shape of that forge."""

import pytest

from app.settings.types import Forge
from app.web.pages.links import ForgeLinks

BEFORE, AFTER, NONE = "a" * 40, "b" * 40, "0" * 40
LINKS = ForgeLinks(
    {
        "hub": Forge("hub", "github", "https://github.example.com", None),
        "work": Forge("work", "gitlab", "https://gitlab.example.com/", None),
        "tea": Forge("tea", "gitea", "https://codeberg.org", None),
        "plain": Forge("plain", "git", "https://git.example.com", None),
    }
)


@pytest.mark.parametrize(
    ("forge", "url", "ref", "link"),
    [
        ("github", "https://github.com/a/b.git", "refs/heads/x/y", "https://github.com/a/b/tree/x/y"),
        ("hub", "ssh://git@github.example.com/a/b.git", "refs/tags/v1", "https://github.example.com/a/b/tree/v1"),
        ("work", "https://gitlab.example.com/a/b/c", "refs/heads/m", "https://gitlab.example.com/a/b/c/-/tree/m"),
        ("work", "git@gitlab.example.com:a/b", "refs/tags/v1", "https://gitlab.example.com/a/b/-/tags/v1"),
        ("tea", "https://codeberg.org/a/b", "refs/heads/m", "https://codeberg.org/a/b/src/branch/m"),
        ("tea", "https://codeberg.org/a/b", "refs/heads/<#?>", "https://codeberg.org/a/b/src/branch/%3C%23%3F%3E"),
        ("plain", "https://git.example.com/a", "refs/heads/m", None),
        ("git", "/srv/git/a.git", "refs/heads/m", None),
        ("github", "/srv/git/a.git", "refs/heads/m", None),
        ("github", "ftp://nonsense", "refs/heads/m", None),
    ],
)  # fmt: skip
def test_a_ref_is_linked_where_the_forges_addresses_are_known(
    forge: str, url: str, ref: str, link: str | None
) -> None:
    assert LINKS.ref(forge, url, ref) == link


def test_a_comparison_needs_two_commits() -> None:
    url = "https://github.com/a/b"

    assert LINKS.compare("github", url, BEFORE, AFTER) == f"{url}/compare/{BEFORE}...{AFTER}"
    assert LINKS.compare("github", url, NONE, AFTER) is None
    assert LINKS.compare("github", url, BEFORE, NONE) is None
    assert LINKS.commit("github", url, NONE) is None
    assert LINKS.commit("work", "https://gitlab.example.com/a/b", AFTER) == (
        f"https://gitlab.example.com/a/b/-/commit/{AFTER}"
    )
