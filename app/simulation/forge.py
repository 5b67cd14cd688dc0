"""The modelled forges: what they hold, how they tell it, and how they fail."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from app.forges import pkt_line
from app.simulation.loop import BEGINNING, Loop
from app.simulation.plan import Happening
from app.transport import NoAnswer, Reply

API = "api.github.com"
PAGE = 100
STALE_MS = 45_000
SHARE = 0.8
# Spoil one answer now and then, and not all while they last: nobody could see through that.
ONE_IN_TWO = frozenset({"empty", "stale", "half", "cut", "garbage"})
LIES = frozenset({"empty", "stale"})


class Answers(dict[str, str]):
    """Headers, found in any case."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__({name.lower(): value for name, value in headers.items()})

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header's value."""
        return super().get(name.lower(), default)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())


@dataclass(slots=True)
class ModelRepository:
    """What truly stands in a repository, and what stood there before."""

    number: int
    name: str
    url: str
    forge: str
    watches_tags: bool
    refs: dict[str, str] = field(default_factory=dict)
    states: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    lied_ms: int = -1

    def put(self, ms: int, refs: dict[str, str]) -> None:
        """Replace everything at once, as one push may."""
        self.refs = refs
        self.states.append((ms, refs))

    def at(self, ms: int) -> dict[str, str]:
        """Return what stood there then."""
        found = self.states[0][1]
        for since, refs in self.states:
            if since > ms:
                break
            found = refs
        return found


@dataclass(slots=True)
class _Fault:
    what: str
    scope: int
    until_ms: int
    number: int


class ModelForges:
    """Answers the requests of the program's own clients.

    Args:
        loop: The time.
        repositories: What they hold.
        allowance: How many charged requests a credential has in each window.
        window_ms: How long a window is.
        chance: A number in [0, 1) whenever one is needed.
    """

    def __init__(
        self,
        loop: Loop,
        repositories: list[ModelRepository],
        allowance: int,
        window_ms: int,
        chance: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._by_path = {urlsplit(r.url).path: r for r in repositories}
        self._allowance = allowance
        self._window_ms = window_ms
        self._chance = chance
        self._faults: list[_Fault] = []
        self._window = -1
        self._used = 0
        self._parents: dict[str, str] = {}
        self.requests = 0
        self.charged = 0
        self.most_used = 0
        self.unmodified = 0

    def fail(self, happening: Happening) -> None:
        """Begin to fail as told."""
        until_ms = self._loop.ms + happening.length_ms
        fault = _Fault(happening.what, happening.number % 3, until_ms, happening.number // 3)
        self._faults.append(fault)

    def recover(self) -> None:
        """Fail no more."""
        self._faults.clear()

    def answer(
        self, url: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> tuple[int, Reply | NoAnswer]:
        """Return how long an answer takes, and the answer."""
        self.requests += 1
        parts = urlsplit(url)
        is_api = parts.hostname == API
        fault = self._fault(is_api=is_api)
        took_ms = 20 + int(self._chance() * 180)
        if fault == "down":
            return 5, NoAnswer("connection refused", kind="connect")
        if fault == "hang":
            return int(timeout_s * 1000), NoAnswer("timed out", kind="timeout")
        repository = self._find(parts.path, is_api=is_api)
        if fault in LIES and repository is not None:
            repository.lied_ms = self._loop.ms + took_ms
        if is_api:
            reply = self._refused_by_api(fault) or self._api(parts, headers, repository, fault)
        else:
            reply = self._refused_by_git(fault) or self._git(parts.path, body, repository, fault)
        if fault == "half":
            return took_ms, NoAnswer("connection closed", kind="closed", began=True)
        if fault == "garbage":
            reply = Reply(200, reply.headers, b"<html>Whoa there!</html>")
        elif fault == "cut" and len(reply.body) > 1:
            reply = Reply(reply.status, reply.headers, reply.body[: len(reply.body) // 2])
        return took_ms, reply

    def _fault(self, *, is_api: bool) -> str | None:
        now = self._loop.ms
        for fault in self._faults:
            if fault.until_ms <= now or fault.scope == (0 if not is_api else 1):
                continue
            if fault.what in ONE_IN_TWO and self._chance() < 0.5:  # noqa: PLR2004 - a choice
                continue
            return fault.what
        return None

    def _find(self, path: str, *, is_api: bool) -> ModelRepository | None:
        if is_api:
            owner_and_name = "/".join(path.split("/")[2:4])
            return self._by_path.get(f"/{owner_and_name}")
        root = path.removesuffix("/info/refs").removesuffix("/git-upload-pack")
        return self._by_path.get(root)

    def _state(self, repository: ModelRepository, fault: str | None) -> dict[str, str]:
        if fault == "empty":
            return {}
        if fault == "stale":
            return repository.at(self._loop.ms - STALE_MS)
        return repository.refs

    # GitHub's API.

    def _epoch_s(self, ms: int) -> int:
        return int(BEGINNING.timestamp()) + ms // 1000

    def _limit_headers(self, *, charge: int) -> dict[str, str]:
        window = self._loop.ms // self._window_ms
        if window != self._window:
            self._window, self._used = window, 0
        self._used += charge
        self.charged += charge
        self.most_used = max(self.most_used, self._used)
        remaining = max(0, self._allowance - self._used)
        return {
            "X-RateLimit-Limit": str(self._allowance),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(self._epoch_s((window + 1) * self._window_ms)),
            "X-RateLimit-Resource": "core",
            "Date": "Mon, 05 Jan 2026 11:00:00 GMT",  # its clock is wrong by an hour and more
        }

    def _refused_by_api(self, fault: str | None) -> Reply | None:
        if fault == "500":
            return Reply(500, Answers({}), b"Server Error")
        if fault == "503 html":
            return Reply(503, Answers({}), b"<html>unicorn</html>")
        if fault == "404":
            return Reply(404, Answers({}), b'{"message": "Not Found"}')
        if fault == "secondary":
            text = b'{"message": "You have exceeded a secondary rate limit."}'
            return Reply(403, Answers({"Retry-After": "60"}), text)
        if fault == "secondary untold":
            text = b'{"message": "You have exceeded a secondary rate limit."}'
            return Reply(429, Answers({}), text)
        headers = self._limit_headers(charge=0)
        if fault == "exhausted" or int(headers["X-RateLimit-Remaining"]) == 0:
            headers["X-RateLimit-Remaining"] = "0"
            return Reply(403, Answers(headers), b'{"message": "API rate limit exceeded"}')
        return None

    def _api(
        self,
        parts: Any,
        headers: Mapping[str, str],
        repository: ModelRepository | None,
        fault: str | None,
    ) -> Reply:
        if repository is None:
            return Reply(404, Answers(self._limit_headers(charge=1)), b'{"message": "Not Found"}')
        what = "/".join(parts.path.split("/")[4:])
        state = self._state(repository, fault)
        link = ""
        told: Any
        if what == "branches":
            page = int(parse_qs(parts.query).get("page", ["1"])[0])
            told, is_last = _branches(state, page)
            if not is_last:
                link = f'<https://{API}{parts.path}?per_page=100&page={page + 1}>; rel="next"'
        elif what.startswith("git/matching-refs/tags"):
            told = _tags(state)
        elif what.startswith("compare/"):
            told = self._compare(unquote(what.removeprefix("compare/")))
        elif what.startswith("commits/"):
            told = _commit(_resolved(state, unquote(what.removeprefix("commits/"))))
        else:
            return Reply(404, Answers(self._limit_headers(charge=1)), b'{"message": "Not Found"}')
        body = json.dumps(told).encode()
        etag = sha1(body, usedforsecurity=False).hexdigest()
        if etag in headers.get("If-None-Match", ""):
            self.unmodified += 1
            answers = {**self._limit_headers(charge=0), "ETag": f'"{etag}"'}
            return Reply(304, Answers(answers), b"")
        answers = {**self._limit_headers(charge=1), "ETag": f'W/"{etag}"'}
        if link:
            answers["Link"] = link
        return Reply(200, Answers(answers), body)

    def _compare(self, what: str) -> dict[str, Any]:
        before, _, after = what.partition("...")
        is_ahead = before < after  # ids count up: a later commit contains the earlier ones
        return {
            "status": "ahead" if is_ahead else "diverged",
            "total_commits": 1,
            "commits": [_commit(after)],
            "files": [{"filename": "README.md", "status": "modified"}],
        }

    # Git's own protocol.

    def _refused_by_git(self, fault: str | None) -> Reply | None:
        if fault in {"500", "503 html", "exhausted"}:
            return Reply(503, Answers({}), b"down for maintenance")
        if fault == "404":
            return Reply(404, Answers({}), b"not found")
        if fault in {"secondary", "secondary untold"}:
            return Reply(429, Answers({"Retry-After": "90"}), b"slow down")
        return None

    def _git(
        self, path: str, body: bytes | None, repository: ModelRepository | None, fault: str | None
    ) -> Reply:
        if repository is None:
            return Reply(404, Answers({}), b"not found")
        if path.endswith("/info/refs"):
            lines = ["# service=git-upload-pack"]
            greeting = pkt_line.encode(lines[0]) + pkt_line.FLUSH
            for line in ("version 2", "ls-refs=unborn", "object-format=sha1"):
                greeting += pkt_line.encode(line)
            return Reply(200, Answers({}), greeting + pkt_line.FLUSH)
        state = self._state(repository, fault)
        lines = [f"{state[ref]} {ref}" for ref in sorted(state)]
        if "refs/heads/main" in state:
            lines.insert(0, f"{state['refs/heads/main']} HEAD symref-target:refs/heads/main")
        return Reply(200, Answers({}), b"".join(map(pkt_line.encode, lines)) + pkt_line.FLUSH)


def _branches(state: Mapping[str, str], page: int) -> tuple[list[dict[str, Any]], bool]:
    names = sorted(
        ref.removeprefix("refs/heads/") for ref in state if ref.startswith("refs/heads/")
    )
    begin = (page - 1) * PAGE
    told = [
        {"name": name, "commit": {"sha": state["refs/heads/" + name]}}
        for name in names[begin : begin + PAGE]
    ]
    return told, begin + PAGE >= len(names)


def _tags(state: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"ref": ref, "object": {"sha": state[ref], "type": "commit"}}
        for ref in sorted(state)
        if ref.startswith("refs/tags/")
    ]


def _resolved(state: Mapping[str, str], name: str) -> str:
    return state.get(name) or state.get("refs/" + name) or state.get("refs/heads/" + name) or name


def _commit(commit: str) -> dict[str, Any]:
    person = {"name": "Ada", "email": "ada@example.com", "date": "2026-01-05T11:59:00Z"}
    return {
        "sha": commit,
        "html_url": f"https://github.com/acme/commit/{commit}",
        "commit": {
            "message": f"Change {commit[:8]}",
            "author": person,
            "committer": person,
            "tree": {"sha": commit},
        },
        "author": {"login": "ada"},
        "committer": {"login": "ada"},
        "parents": [],
        "files": [{"filename": "README.md", "status": "modified"}],
    }
