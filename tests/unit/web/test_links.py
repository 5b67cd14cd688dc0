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
        "gogs": Forge("gogs", "gogs", "https://gogs.example.com", None),
        "stash": Forge("stash", "bitbucket-server", "https://stash.example.com/bb", None),
        "azure": Forge("azure", "azure", "https://dev.azure.com", None),
        "acme": Forge("acme", "azure", "https://acme.visualstudio.com", None),
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
        ("gogs", "https://gogs.example.com/a/b.git", "refs/heads/m", "https://gogs.example.com/a/b/src/m"),
        ("bitbucket", "https://bitbucket.org/a/b.git", "refs/heads/x/y", "https://bitbucket.org/a/b/branch/x/y"),
        ("bitbucket", "https://bitbucket.org/a/b", "refs/tags/v1", "https://bitbucket.org/a/b/commits/tag/v1"),
        ("stash", "https://stash.example.com/bb/scm/AC/b.git", "refs/heads/x/y", "https://stash.example.com/bb/projects/AC/repos/b/browse?at=refs%2Fheads%2Fx/y"),
        ("stash", "ssh://git@stash.example.com:7999/~ada/b.git", "refs/tags/v1", "https://stash.example.com/bb/users/ada/repos/b/browse?at=refs%2Ftags%2Fv1"),
        ("azure", "https://dev.azure.com/a/p%20q/_git/b", "refs/heads/x", "https://dev.azure.com/a/p%20q/_git/b?version=GBx"),
        ("azure", "git@ssh.dev.azure.com:v3/a/p/b", "refs/tags/v1", "https://dev.azure.com/a/p/_git/b?version=GTv1"),
        ("acme", "acme@vs-ssh.visualstudio.com:v3/acme/p/b", "refs/heads/m", "https://acme.visualstudio.com/p/_git/b?version=GBm"),
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


def test_each_forge_compares_in_its_own_way() -> None:
    urls = {
        "bitbucket": "https://bitbucket.org/a/b",
        "azure": "https://dev.azure.com/a/p/_git/b",
        "stash": "https://stash.example.com/bb/scm/AC/b.git",
    }

    assert [LINKS.compare(forge, url, BEFORE, AFTER) for forge, url in urls.items()] == [
        f"https://bitbucket.org/a/b/branches/compare/{AFTER}%0D{BEFORE}",
        (
            "https://dev.azure.com/a/p/_git/b/branchCompare"
            f"?baseVersion=GC{BEFORE}&targetVersion=GC{AFTER}"
        ),
        (
            "https://stash.example.com/bb/projects/AC/repos/b/compare/commits"
            f"?sourceBranch={AFTER}&targetBranch={BEFORE}"
        ),
    ]


@pytest.mark.parametrize(
    ("kind", "ref", "page"),
    [
        ("github", "refs/pull/7/head", "/pull/7"),
        ("gitlab", "refs/merge-requests/7/head", "/-/merge_requests/7"),
        ("gitea", "refs/pull/7/head", "/pulls/7"),
        ("gogs", "refs/pull/7/head", "/pulls/7"),
    ],
)
def test_a_pull_request_has_a_page_of_its_own(kind: str, ref: str, page: str) -> None:
    forge = Forge(name="x", kind=kind, url="https://x.io", api_url=None)

    assert (
        ForgeLinks({"x": forge}).ref("x", "https://x.io/a/b.git", ref) == f"https://x.io/a/b{page}"
    )
