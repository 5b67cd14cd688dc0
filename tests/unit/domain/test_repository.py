"""An address is taken apart, and what is secret in it stays apart."""

import pytest

from app.domain.repository import parse_remote


@pytest.mark.parametrize(
    ("text", "url", "name"),
    [
        ("https://github.com/acme/web", "https://github.com/acme/web", "acme/web"),
        ("HTTPS://GitHub.com/acme/web.git/", "https://github.com/acme/web.git", "acme/web"),
        ("https://x:443/a/b", "https://x/a/b", "a/b"),
        ("http://127.0.0.1:8000/a.git", "http://127.0.0.1:8000/a.git", "a"),
        ("https://[::1]:8443/a/b", "https://[::1]:8443/a/b", "a/b"),
        ("https://gitlab.com/group/sub/p", "https://gitlab.com/group/sub/p", "group/sub/p"),
        ("https://dev.azure.com/a/p/_git/r", "https://dev.azure.com/a/p/_git/r", "a/p/r"),
        ("https://dev.azure.com/a/_git/r.x", "https://dev.azure.com/a/_git/r.x", "a/r.x"),
        ("https://h/c/p/_git/_full/r", "https://h/c/p/_git/_full/r", "c/p/r"),
        ("git@ssh.dev.azure.com:v3/a/p/r", "ssh://git@ssh.dev.azure.com/v3/a/p/r", "a/p/r"),
        ("https://h/scm/~ada/web.git", "https://h/scm/~ada/web.git", "~ada/web"),
        ("https://h/scm/web.git", "https://h/scm/web.git", "scm/web"),
        ("https://h/_git", "https://h/_git", "_git"),
        ("git@github.com:acme/web.git", "ssh://git@github.com/acme/web.git", "acme/web"),
        ("ssh://git@h:2222/acme/web", "ssh://git@h:2222/acme/web", "acme/web"),
        ("git://h/web", "git://h/web", "web"),
        ("/srv/git/web.git", "/srv/git/web.git", "web"),
        ("/home/ada/web/.git", "/home/ada/web/.git", "web"),
        ("file:///srv/git/web.git", "file:///srv/git/web.git", "web"),
        ("C:\\git\\web.git", "C:\\git\\web.git", "web"),
        ("..", "..", ".."),
    ],
)
def test_an_address_is_spelled_one_way_and_gives_a_name(text: str, url: str, name: str) -> None:
    remote = parse_remote(text)

    assert (remote.url, remote.default_name) == (url, name)


def test_a_drive_in_a_file_url_is_a_path_of_windows() -> None:
    assert parse_remote("file:///C:/git/web.git").path == "C:/git/web.git"


def test_a_password_leaves_the_address_and_shows_nowhere() -> None:
    remote = parse_remote("https://bob:s3cr%40t@h/a/b")

    assert remote.url == "https://h/a/b"
    assert remote.username == "bob"
    assert remote.password is not None
    assert remote.password.reveal() == "s3cr@t"
    assert "s3cr" not in repr(remote)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "--upload-pack=evil",
        "ext::sh -c evil",
        "ftp://h/a",
        "https:///a",
        "https://github.com",
        "https://github.com/",
        "https://-oProxyCommand=evil/a",
        "https://h/a?x=1",
        "https://h/a#x",
        "https://h/a\nb",
        "https://h:99999/a",
        "https://h:x/a",
    ],
)
def test_what_git_could_not_use_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_remote(text)
