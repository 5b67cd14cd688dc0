"""Whatever is watched, the addresses in a payload are well-formed and as useful as can be."""

import pytest

from app.delivery.payloads.addresses import addresses

SHA = "6dcb09b5b57875f334f61aebed695e2e4193db5e"


def test_a_github_repository_has_the_addresses_that_github_gives_it() -> None:
    found = addresses("https://github.com/octocat/hello-world.git", forge="github")

    assert (found.owner, found.name) == ("octocat", "hello-world")
    assert found.html == found.url == "https://github.com/octocat/hello-world"
    assert found.clone == "https://github.com/octocat/hello-world.git"
    assert found.ssh == "git@github.com:octocat/hello-world.git"
    assert found.git == "git://github.com/octocat/hello-world.git"
    assert found.api == "https://api.github.com/repos/octocat/hello-world"


def test_gitlab_groups_may_nest_and_its_pages_begin_with_a_dash() -> None:
    found = addresses("https://gitlab.com/platform/build/images", forge="gitlab")

    assert (found.owner, found.name) == ("platform/build", "images")
    assert found.commit(SHA) == f"https://gitlab.com/platform/build/images/-/commit/{SHA}"


def test_compare_pages_are_named_as_github_names_them() -> None:
    found = addresses("https://github.com/o/r", forge="github")

    assert found.compare(SHA, "0" * 40) == (
        "https://github.com/o/r/compare/6dcb09b5b578...000000000000"
    )
    assert found.compare_new("50%/größe#1") == (
        "https://github.com/o/r/compare/50%25/gr%C3%B6%C3%9Fe%231"
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/site.git",
        "https://git.example.com/cgit/site",
        "ssh://git@git.example.com:2222/infra.git",
        "git://git.example.com/infra.git",
    ],
)
def test_on_a_plain_server_what_is_cloned_is_what_is_watched(url: str) -> None:
    found = addresses(url, forge="git")

    assert found.clone == found.url == url


def test_a_web_server_keeps_its_port_and_an_ssh_server_does_not_lend_it_its_own() -> None:
    web = addresses("http://127.0.0.1:8000/acme/site.git", forge="git")
    ssh = addresses("ssh://git@git.example.com:2222/acme/site.git", forge="git")

    assert web.html == "http://127.0.0.1:8000/acme/site"
    assert web.ssh == "git@127.0.0.1:acme/site.git"
    assert ssh.html == "https://git.example.com/acme/site"


def test_an_ipv6_host_keeps_its_brackets() -> None:
    assert addresses("http://[::1]:3000/a/b", forge="git").html == "http://[::1]:3000/a/b"


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("/srv/git/site.git", "file:///srv/git/site.git"),
        ("/srv/my repositories/50%.git", "file:///srv/my%20repositories/50%25.git"),
        ("file:///srv/my%20repositories/site", "file:///srv/my%20repositories/site"),
        (r"C:\git\site.git", "file:///C:/git/site.git"),
        ("file:///C:/git/site.git", "file:///C:/git/site.git"),
        (r"\\nas\git\site.git", "file://nas/git/site.git"),
    ],
)
def test_a_local_path_becomes_a_file_url_on_every_system(path: str, uri: str) -> None:
    found = addresses(path, forge="git")

    assert found.clone == found.ssh == uri
    assert found.owner == "local"


def test_a_work_tree_is_named_after_its_folder() -> None:
    found = addresses("/home/ada/site/.git", forge="git")

    assert (found.name, found.html) == ("site", "file:///home/ada/site")


BEFORE, AFTER = "a" * 40, "b" * 40


def test_azure_devops_is_cloned_by_the_url_that_is_watched() -> None:
    url = "https://dev.azure.com/acme/my%20web/_git/site"

    found = addresses(url, forge="azure")

    assert (found.url, found.clone, found.html, found.full_name) == (
        url,
        url,
        url,
        "acme/my%20web/site",
    )
    assert found.commit(AFTER) == f"{url}/commit/{AFTER}"
    assert found.compare(BEFORE, AFTER) == (
        f"{url}/branchCompare?baseVersion=GC{BEFORE}&targetVersion=GC{AFTER}"
    )
    assert found.compare_new("a/b") == f"{url}?version=GBa/b"


@pytest.mark.parametrize(
    ("project", "page"), [("ACME", "projects/ACME/repos/site"), ("~ada", "users/ada/repos/site")]
)
def test_bitbucket_server_shows_its_pages_elsewhere_than_it_is_cloned(
    project: str, page: str
) -> None:
    url = f"https://stash.example.com/scm/{project}/site.git"

    found = addresses(url, forge="stash")

    assert (found.url, found.clone, found.full_name) == (url, url, f"{project}/site")
    assert found.html == f"https://stash.example.com/{page}"
    assert found.commit(AFTER) == f"{found.html}/commits/{AFTER}"


def test_bitbucket_compares_the_later_commit_with_the_earlier() -> None:
    found = addresses("https://bitbucket.org/acme/site", forge="bitbucket")

    assert found.clone == "https://bitbucket.org/acme/site.git"
    assert found.compare(BEFORE, AFTER) == (
        f"https://bitbucket.org/acme/site/branches/compare/{AFTER}%0D{BEFORE}"
    )
