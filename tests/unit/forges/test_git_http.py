"""Git's own protocol over HTTP: what is asked, what is understood, and who gets the password."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import ForgeAnswerInvalid, ForgeDenied, ForgeRateLimited
from app.domain.event import record
from app.domain.refs import LONGEST_REF, RefFilter
from app.domain.repository import Repository
from app.domain.snapshot import Change
from app.forges.git_http import GitHttp, Server, follow, greeted, parse_v0, parse_v2, question
from app.forges.listing import fingerprint, keep
from app.forges.pkt_line import encode
from app.transport import Reply, Transport
from tests.fakes.clock import FakeClock

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
ONE, TWO = "1" * 40, "2" * 40
SITE = Repository("site", "https://git.example.com/site.git")
HERE = Server(SITE.url)
END = "/info/refs?service=git-upload-pack"


def packed(*lines: str) -> bytes:
    return b"".join(encode(line) for line in lines) + b"0000"


def test_the_question_names_the_prefixes_and_the_object_format() -> None:
    asked = question(("refs/heads/main", "refs/tags/v"), "sha256")

    assert asked.startswith(b"0014command=ls-refs\n")
    assert b"object-format=sha256\n0001" in asked
    assert b"001eref-prefix refs/heads/main\n" not in asked  # its length is counted in bytes
    assert b"001fref-prefix refs/heads/main\n" in asked
    assert b"ref-prefix refs/tags/v\n" in asked
    assert b"ref-prefix HEAD\n" in asked
    assert asked.endswith(b"0000")


def test_very_many_prefixes_become_two() -> None:
    prefixes = tuple(f"refs/heads/team-{number}/" for number in range(500))

    asked = question(prefixes, None)

    assert asked.count(b"ref-prefix") == 2
    assert b"ref-prefix refs/heads/\n" in asked


def test_an_answer_is_read_with_the_default_branch() -> None:
    listing = parse_v2(
        packed(
            f"{ONE} HEAD symref-target:refs/heads/trunk",
            f"{ONE} refs/heads/trunk",
            f"{TWO} refs/tags/v1 peeled:{ONE}",
        )
    )

    assert listing.default_branch == "refs/heads/trunk"
    assert listing.refs == {"refs/heads/trunk": ONE, "refs/tags/v1": TWO}


def test_a_lone_flush_is_an_empty_repository() -> None:
    assert parse_v2(b"0000").refs == {}
    assert parse_v0(packed(f"{'0' * 40} capabilities^{{}}\0agent=git")).refs.keys() == {
        "capabilities^{}"
    }
    assert keep(parse_v0(b"0000").refs.items(), SITE) == {}


WHOLE = packed(f"{ONE} refs/heads/a", f"{TWO} refs/heads/b")


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_an_answer_cut_off_anywhere_is_an_error_and_never_a_deletion(length: int) -> None:
    for parse in (parse_v2, parse_v0):
        with pytest.raises(ForgeAnswerInvalid):
            parse(WHOLE[:length])


@pytest.mark.parametrize(
    "body", [b"<html>", b"0003", b"zzzz", b"-001", b"+004", b" 004", WHOLE + b"more", WHOLE * 2]
)
def test_what_is_not_the_protocol_is_an_error(body: bytes) -> None:
    for parse in (parse_v2, parse_v0):
        with pytest.raises(ForgeAnswerInvalid):
            parse(body)


@pytest.mark.parametrize(
    "lines",
    [
        (f"{ONE} refs/heads/a", f"{TWO} refs/heads/b"),
        (f"{ONE} HEAD symref-target:refs/heads/a", f"{ONE} refs/heads/a", f"{TWO} refs/tags/v"),
        (f"{ONE} HEAD", f"{ONE} refs/heads/a peeled:{TWO}", "unborn HEAD symref-target:refs/x"),
        (f"{ONE} refs/heads/a symref-target:refs/heads/b", f"{TWO} refs/heads/{'x' * 2000}"),
        ("HEAD", "x", f"{ONE} "),
    ],
)
def test_plain_lines_are_read_at_once_as_they_would_be_singly(lines: tuple[str, ...]) -> None:
    body = packed(*lines)
    by_line = packed(*lines, f"{ONE} refs/heads/ß")

    slowly = parse_v2(by_line)

    assert parse_v2(body) == replace(
        slowly, refs={ref: at for ref, at in slowly.refs.items() if ref != "refs/heads/ß"}
    )


def test_a_servers_own_word_of_failure_is_told() -> None:
    with pytest.raises(ForgeAnswerInvalid, match="says: access denied"):
        parse_v2(packed("ERR access denied"))


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "bare"])
@pytest.mark.parametrize("version", ["", "version 1"])
def test_an_old_servers_advertisement_is_read(announced: bool, version: str) -> None:
    body = packed(
        *([version] if version else []),
        f"{ONE} HEAD\0multi_ack symref=HEAD:refs/heads/trunk agent=git/1.8",
        f"{ONE} refs/heads/trunk",
        f"{TWO} refs/tags/v1",
        f"{ONE} refs/tags/v1^{{}}",
        f"{ONE} refs/pull/1/head",
        f"shallow {ONE}",
    )
    if announced:
        body = packed("# service=git-upload-pack") + body

    listing = parse_v0(body)

    assert keep(listing.refs.items(), SITE) == {"refs/heads/trunk": ONE, "refs/tags/v1": TWO}
    assert listing.default_branch == "refs/heads/trunk"


def test_a_new_servers_greeting_tells_version_and_object_format() -> None:
    body = packed("version 2", "agent=git/2.39", "ls-refs=unborn", "object-format=sha256")

    for greeting in (body, packed("# service=git-upload-pack") + body):
        assert greeted(HERE, greeting) == Server(SITE.url, speaks_v2=True, object_format="sha256")


def test_an_object_format_in_odd_bytes_is_no_defect_of_ours() -> None:
    body = packed("version 2", "ls-refs", "object-format=sha1").replace(b"sha1", b"sh\xff1")

    assert greeted(HERE, body).speaks_v2


def test_a_new_server_without_ls_refs_is_an_error() -> None:
    with pytest.raises(ForgeAnswerInvalid, match="no ls-refs"):
        greeted(HERE, packed("version 2", "fetch=shallow"))


@pytest.mark.parametrize(
    ("location", "base", "is_trusted"),
    [
        (f"/new.git{END}", "https://git.example.com/new.git", True),
        (f"https://git.example.com:443/new{END}", "https://git.example.com:443/new", True),
        (f"https://other.example.com/new{END}", "https://other.example.com/new", False),
        (f"https://git.example.com:8443/new{END}", "https://git.example.com:8443/new", False),
        (f"https://eve:s3cret@git.example.com/new{END}", "https://git.example.com/new", True),
    ],
)
def test_a_moved_repository_is_followed_but_the_password_stays_with_its_host(
    location: str, base: str, is_trusted: bool
) -> None:
    assert follow(HERE, location) == Server(base, is_trusted)


@pytest.mark.parametrize(
    "location", ["", "/login", "https://sso.example.com/?next=x", f"http://git.example.com/x{END}"]
)
def test_a_redirect_to_a_page_or_out_of_https_is_not_followed(location: str) -> None:
    with pytest.raises(ForgeDenied):
        follow(HERE, location)


@pytest.mark.parametrize("host", ["[::1", "git.example.com:99999", "git.example.com:x", "[x]"])
def test_a_redirect_to_what_is_no_address_is_an_odd_answer(host: str) -> None:
    with pytest.raises(ForgeAnswerInvalid, match="no address"):
        follow(HERE, f"https://{host}/new{END}")


def test_a_redirect_into_https_on_the_same_host_keeps_the_password() -> None:
    plain = Server("http://git.example.com/site.git")

    moved = follow(plain, f"https://git.example.com/site.git{END}")

    assert moved == Server("https://git.example.com/site.git", is_trusted=True)


def test_what_does_not_point_at_an_object_is_an_error() -> None:
    for target in ("", "1" * 39, "G" * 40, "A" * 40, "1" * 63):
        with pytest.raises(ForgeAnswerInvalid):
            keep([("refs/heads/main", target)], SITE)


def test_a_ref_with_a_name_too_long_to_store_is_left_out_and_said_once(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    # It is said once in a process, so the repository must be a new one.
    site = Repository(str(tmp_path), SITE.url)
    longest = "refs/heads/" + "x" * (LONGEST_REF - 11)

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            kept = keep([(longest, ONE), (longest + "x", ONE)], site)

    assert kept == {longest: ONE}
    assert [record.message for record in caplog.records] == [
        "ref is not watched: its name is too long"
    ]


def test_the_same_answer_to_another_wish_is_not_the_same() -> None:
    other = Repository("site", SITE.url, refs=RefFilter(branches=("*", "!wip/*")))

    assert fingerprint(b"x", SITE) == fingerprint(b"x", SITE)
    assert fingerprint(b"x", SITE) != fingerprint(b"x", other)
    assert fingerprint(b"x", SITE) != fingerprint(b"y", SITE)


class Busy(Transport):
    """A server that asks to come back in a minute and a half."""

    def __init__(self) -> None:
        self.requests = 0

    def send(self, method: str, url: str, **options: Any) -> Reply:
        self.requests += 1
        return Reply(429, {"Retry-After": "90"}, b"")


def test_a_server_that_asks_to_come_back_later_is_left_alone_until_then() -> None:
    server, clock = Busy(), FakeClock()
    client = GitHttp(server, now=clock)

    for _ in range(3):
        with pytest.raises(ForgeRateLimited) as refused:
            client.list_refs(SITE, validator={}, timeout_s=1)
        clock.go(seconds=29)

    assert server.requests == 1
    assert refused.value.reset_at == clock.at + timedelta(seconds=3)
    clock.go(seconds=3)
    with pytest.raises(ForgeRateLimited):
        client.list_refs(SITE, validator={}, timeout_s=1)
    assert server.requests == 2


def test_a_clock_that_was_set_back_keeps_no_server_alone() -> None:
    server, clock = Busy(), FakeClock()
    client = GitHttp(server, now=clock)

    for _ in range(2):
        with pytest.raises(ForgeRateLimited):
            client.list_refs(SITE, validator={}, timeout_s=1)
        clock.go(hours=-1)

    assert server.requests == 2


class Told(Transport):
    """A server that offers to send commits without their files, and answers as it is told to."""

    def __init__(self, answer: Reply) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def send(self, method: str, url: str, **options: Any) -> Reply:
        self.asked.append(url.rsplit("/", 1)[-1])
        if method == "GET":
            return Reply(200, {}, packed("version 2", "ls-refs", "fetch=shallow filter"))
        return self.answer


def describe(client: GitHttp, repository: Repository = SITE, ref: str = "refs/heads/a") -> Any:
    change = record(Change(ref, ONE, TWO), key="x", sequence=1, detected_at=NOON)
    return client.describe(repository, change=change, timeout_s=5)


def test_a_server_that_offers_commits_and_sends_none_is_left_alone_with_them() -> None:
    server, clock = Told(Reply(200, {}, b"")), FakeClock()  # as Gitea 1.17 answers
    client = GitHttp(server, now=clock)
    other = Repository("shop", "https://git.example.com/shop.git")

    assert [describe(client), describe(client), describe(client, other)] == [None] * 3
    assert server.asked == ["refs?service=git-upload-pack", "git-upload-pack"]

    clock.go(hours=25)
    assert describe(client) is None
    assert server.asked[2:] == ["git-upload-pack"]


def test_a_server_that_is_asked_for_commits_may_ask_to_be_left_alone_too() -> None:
    server = Busy()
    client = GitHttp(server, now=FakeClock())

    assert describe(client) is None
    with pytest.raises(ForgeRateLimited):
        client.list_refs(SITE, validator={}, timeout_s=1)
    assert server.requests == 1


def test_a_server_without_filters_is_never_asked_for_commits() -> None:
    class Plain(Told):
        def send(self, method: str, url: str, **options: Any) -> Reply:
            super().send(method, url)
            return Reply(200, {}, packed("version 2", "ls-refs", "fetch=shallow"))

    server = Plain(Reply(200, {}, b""))
    client = GitHttp(server, now=FakeClock())

    assert [describe(client), describe(client)] == [None, None]
    assert server.asked == ["refs?service=git-upload-pack"]


@pytest.mark.parametrize(
    "body",
    [
        b"0000",
        packed("packfile"),
        b"000dpackfile\n000a\x01PACK!0000",
        b"000dpackfile\n0009\x03oh!\n0000",
        packed("acknowledgments", f"ACK {ONE}"),
        packed("ERR not our ref"),
        b"0032packfile",
        b"<!DOCTYPE html>",
        b"00010001" * 1000 + b"0000",
        b"000dpackfile\n" + b"0004" * 1000 + b"0000",
    ],
)
def test_an_odd_answer_to_the_question_for_commits_tells_nothing(body: bytes) -> None:
    client = GitHttp(Told(Reply(200, {}, body)), now=FakeClock())

    assert describe(client) is None
    assert describe(client, ref="refs/tags/v1") is None


def test_a_repository_that_is_read_over_ssh_is_not_asked_over_http() -> None:
    server = Told(Reply(200, {}, b""))
    over_ssh = Repository("site", "ssh://git@git.example.com/site.git")

    assert describe(GitHttp(server, now=FakeClock()), over_ssh) is None
    assert server.asked == []


def test_pull_requests_are_kept_where_they_are_wanted() -> None:
    pairs = [
        (f"refs/{name}", ONE)
        for name in (
            *("heads/main", "pull/7/head", "pull/7/merge", "pull/x/head", "merge-requests/8/head"),
            *("merge-requests/8/merge", "pull-requests/9/from", "pull-requests/9/to", "notes/x"),
        )
    ]
    pulls = replace(SITE, refs=RefFilter(wants_pulls=True))

    assert keep(pairs, SITE).keys() == {"refs/heads/main"}
    assert keep(pairs, pulls).keys() == {
        *("refs/heads/main", "refs/pull/7/head"),
        *("refs/merge-requests/8/head", "refs/pull-requests/9/from"),
    }
