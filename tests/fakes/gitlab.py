"""GitLab and Gitea on 127.0.0.1, held in memory, as far as watching refs goes.

What makes them unlike GitHub: GitLab counts every answer, also the unchanged ones, tells so by
other headers and in plain text, keeps its list of branches for half a minute, and shuts out an
address whose git sign-ins fail too often. Gitea counts nothing and knows no ETag.
"""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode

from tests.fakes import git_answers
from tests.fakes.hosting import EMPTY_TREE, HEADS, MAIN, TAGS, Commit, Hosted, Hosting, Standing
from tests.fakes.limits import Failures, Ledger, Window
from tests.fakes.quick_http import Answer, QuickServer, Request

TOKEN = "glpat-of-a-fake"  # noqa: S105 - opens nothing but this
A_MINUTE = 2000  # of one user at gitlab.com, as its manual says
KEPT_S = 30.0  # how long GitLab keeps its list of branches


def moment(at_s: float) -> str:
    """Spell a moment, to the thousandth."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")


class MemoryForge(QuickServer):
    """What the two share: repositories, a token, git; ``private`` ones are shown to it only."""

    def __init__(
        self, *, token: str | None = TOKEN, now: Callable[[], float] = time.time, **options: Any
    ) -> None:
        super().__init__(**options)
        self.now = now
        self.token = token
        self.is_revoked = False
        self.hosting = Hosting(now)
        self.ledger = Ledger()
        self.failures: dict[str, Failures] = {}
        self.lock = threading.RLock()

    def push(self, repository: str, ref: str = MAIN, *, force: bool = False) -> str:
        """Push a commit to a repository, and return it."""
        with self.lock:
            return self.hosting.push(repository, ref, force=force)

    def create(self, repository: str, *, branches: int = 1) -> Hosted:
        """Make a repository."""
        with self.lock:
            return self.hosting.create(repository, branches=branches)

    def respond(self, request: Request) -> Answer:
        """Answer one request."""
        with self.lock:
            if request.path.endswith(("/info/refs", "/git-upload-pack")):
                answer = self._git(request)
                self.ledger.note("git", answer.status, 0)
                return answer
            return self._api(request)

    def _api(self, request: Request) -> Answer:
        raise NotImplementedError

    def _given(self, request: Request) -> str | None:
        """Return the secret that was shown."""
        spelled = request.headers.get("authorization", "")
        scheme, _, secret = spelled.partition(" ")
        if scheme.lower() == "basic":
            return base64.b64decode(secret).decode().partition(":")[2]
        return request.headers.get("private-token") or secret or None

    def _admits(self, secret: str | None) -> bool:
        return secret is None or (secret == self.token and not self.is_revoked)

    def _git(self, request: Request) -> Answer:
        secret = self._given(request)
        failures = self.failures.setdefault(request.client, Failures())
        if failures.bans(self.now()):
            return Answer(403, b"Forbidden\n", sort="text/plain")
        please = [("WWW-Authenticate", 'Basic realm="GitLab"')]
        if not self._admits(secret):
            failures.note(self.now())
            return Answer(401, b"HTTP Basic: Access denied\n", please, "text/plain")
        path = request.path.removesuffix("/info/refs").removesuffix("/git-upload-pack")
        name = path.strip("/").removesuffix(".git")
        hosted = self.hosting.find(name)
        moved = self.hosting.moved(name)
        if hosted is None and moved is not None:
            there = f"{self.address}/{moved.full_name}.git{request.target.removeprefix(path)}"
            return Answer(301, headers=[("Location", there)])
        if hosted is None or (hosted.is_private and secret is None):
            return Answer(404 if secret else 401, b"", () if secret else please, "text/plain")
        if request.method == "GET":
            sort = "application/x-git-upload-pack-advertisement"
            service = git_answers.packet(b"# service=git-upload-pack\n") + git_answers.FLUSH
            return Answer(200, service + git_answers.advertisement(), sort=sort)
        body = git_answers.answer(hosted, hosted.now, request.body)
        return Answer(200, body, sort="application/x-git-upload-pack-result")


class FakeGitLab(MemoryForge):
    """GitLab; ``limit`` requests a minute are answered, and 429 after that."""

    def __init__(self, *, limit: int = A_MINUTE, **options: Any) -> None:
        super().__init__(**options)
        self.window = Window(limit, period_s=60.0)
        # By project and parameters: until when a list is kept, and the list.
        self._kept: dict[str, tuple[float, list[dict[str, Any]]]] = {}

    def _api(self, request: Request) -> Answer:
        self.window.look(self.now())
        self.window.spend()
        reset_s = int(self.window.ends_s + 1)
        counted = [
            ("RateLimit-Limit", str(self.window.limit)),
            ("RateLimit-Name", "throttle_authenticated_api"),
            ("RateLimit-Observed", str(self.window.used)),
            ("RateLimit-Remaining", str(self.window.remaining)),
            ("RateLimit-Reset", str(reset_s)),
        ]
        if self.window.used > self.window.limit:
            self.ledger.note("refused", 429, 0)
            wait = [
                ("Retry-After", str(max(1, int(self.window.ends_s - self.now())))),
                ("RateLimit-ResetTime", formatdate(reset_s, usegmt=True)),
            ]
            return Answer(429, b"Retry later\n", [*counted, *wait], "text/plain")
        answer = self._routed(request)
        if answer.status == 200:
            # The body is made all the same, and the question counted: only bytes are saved.
            tag = hashlib.sha256(answer.body).hexdigest()[:32]
            known = request.headers.get("if-none-match", "").removeprefix("W/")
            answer.status = 304 if known == f'"{tag}"' else 200
            counted.append(("ETag", f'W/"{tag}"'))
        answer.headers = [
            *answer.headers,
            *counted,
            ("Cache-Control", "max-age=0, private, must-revalidate"),
        ]
        self.ledger.note("rest", answer.status, 1)
        return answer

    def _routed(self, request: Request) -> Answer:
        secret = self._given(request)
        if not self._admits(secret):
            return _json({"message": "401 Unauthorized"}, 401)
        match request.segments:
            case ["api", "v4", "projects", name, *rest]:
                hosted = self._project(name)
                moved = self.hosting.moved(name)
                if hosted is None and moved is not None:
                    path = request.target.partition(f"/projects/{request.path.split('/')[4]}")[2]
                    there = f"{self.address}/api/v4/projects/{moved.id}{path}"
                    body = b"This resource has been moved permanently\n"
                    return Answer(301, body, [("Location", there)], "text/plain")
                if hosted is not None and not (hosted.is_private and secret is None):
                    return self._of_project(request, hosted, rest)
            case ["api", "v4", "groups", owner, "projects"]:
                return self._group(request, owner)
        return _json({"message": "404 Not Found"}, 404)

    def _project(self, name: str) -> Hosted | None:
        return self.hosting.by_id.get(int(name)) if name.isdigit() else self.hosting.find(name)

    def _of_project(self, request: Request, hosted: Hosted, rest: list[str]) -> Answer:
        query = request.query
        match rest:
            case []:
                return _json(self._spelled(hosted))
            case ["repository", "branches"]:
                return self._branches(request, hosted)
            case ["repository", "branches", name] if HEADS + name in hosted.now.refs:
                return _json(_branch(hosted, hosted.now, HEADS + name))
            case ["repository", "tags"]:
                names = sorted(ref for ref in hosted.now.refs if ref.startswith(TAGS))
                return self._paged(request, [_tag(hosted, ref) for ref in names])
            case ["repository", "commits", of] if of in hosted.commits:
                return _json(_commit(of, hosted.commits[of]))
            case ["repository", "compare"]:
                return self._compare(hosted, query["from"], query["to"])
            case ["events"]:
                return self._paged(request, [_event(hosted, one) for one in reversed(hosted.log)])
        return _json({"message": "404 Not Found"}, 404)

    def _branches(self, request: Request, hosted: Hosted) -> Answer:
        """Answer the list as it was up to half a minute ago, for each set of parameters."""
        kept_until_s, listed = self._kept.get(request.target, (0.0, []))
        if self.now() >= kept_until_s:
            names = sorted(ref for ref in hosted.now.refs if ref.startswith(HEADS))
            listed = [_branch(hosted, hosted.now, ref) for ref in names]
            self._kept[request.target] = (self.now() + KEPT_S, listed)
        return self._paged(request, listed)

    def _paged(self, request: Request, items: list[dict[str, Any]]) -> Answer:
        query = request.query
        size = min(100, int(query.get("per_page", 20)))
        if query.get("pagination") == "keyset":
            items = [item for item in items if item["name"] > query.get("page_token", "")]
            more = {"page_token": items[size - 1]["name"]} if items[size:] else {}
        else:
            page = int(query.get("page", 1))
            items = items[(page - 1) * size :]
            more = {"page": str(page + 1)} if items[size:] else {}
        url = f"{self.address}{request.path}?{urlencode({**query, **more})}"
        link = [("Link", f'<{url}>; rel="next"')] if more else []
        answer = _json(items[:size])
        answer.headers = link
        return answer

    def _compare(self, hosted: Hosted, base: str, head: str) -> Answer:
        if base not in hosted.commits or head not in hosted.commits:
            return _json({"message": "404 Ref Not Found"}, 404)
        known = set(hosted.ancestry(base))
        gained = [of for of in hosted.ancestry(head) if of not in known]
        listed = [_commit(of, hosted.commits[of]) for of in reversed(gained)]
        told = {"commits": listed, "diffs": [], "compare_timeout": False}
        return _json(told | {"compare_same_ref": base == head})

    def _group(self, request: Request, owner: str) -> Answer:
        projects = self.hosting.by_owner.get(owner.lower())
        if projects is None:
            return _json({"message": "404 Group Not Found"}, 404)
        listed = sorted((self._spelled(one) for one in projects), key=_activity, reverse=True)
        return self._paged(request, listed)

    def _spelled(self, hosted: Hosted) -> dict[str, Any]:
        # It is moved once an hour at most, whatever is pushed: no more than a hint.
        at_s = hosted.created_s + (hosted.now.pushed_s - hosted.created_s) // 3600 * 3600
        return {
            "id": hosted.id,
            "name": hosted.name,
            "path_with_namespace": hosted.full_name,
            "default_branch": hosted.default_branch,
            "web_url": f"{self.address}/{hosted.full_name}",
            "http_url_to_repo": f"{self.address}/{hosted.full_name}.git",
            "archived": hosted.is_archived,
            "last_activity_at": moment(at_s),
        }


class FakeGitea(MemoryForge):
    """Gitea, or Forgejo: no limits, no ETag, pages of fifty."""

    PAGE = 50

    def _api(self, request: Request) -> Answer:
        answer = self._routed(request)
        self.ledger.note("rest", answer.status, 0)
        return answer

    def _routed(self, request: Request) -> Answer:
        if not self._admits(self._given(request)):
            return _json({"message": "invalid username, password or token"}, 401)
        match request.segments:
            case ["api", "v1", "repos", owner, name, *rest]:
                full_name = f"{owner}/{name}"
                hosted, moved = self.hosting.find(full_name), self.hosting.moved(full_name)
                if hosted is not None:
                    return self._of_repository(request, hosted, rest)
                if moved is not None:
                    path = request.target.partition(f"/{owner}/{name}")[2]
                    there = f"{self.address}/api/v1/repos/{moved.full_name}{path}"
                    return Answer(302, headers=[("Location", there)])
        return _json({"message": "Not Found"}, 404)

    def _of_repository(self, request: Request, hosted: Hosted, rest: list[str]) -> Answer:
        refs = hosted.now.refs
        match rest:
            case ["branches"]:
                names = sorted(ref for ref in refs if ref.startswith(HEADS))
                return self._paged(request, [_short_branch(hosted, ref) for ref in names])
            case ["git", "refs", *beginning] if refs:
                prefix = "/".join(["refs", *beginning])
                found = [
                    {"ref": ref, "object": {"type": "commit", "sha": target}}
                    for ref, target in sorted(refs.items())
                    if ref.startswith(prefix)
                ]
                if found:
                    return _json(found)  # all of them, whatever limit is asked for
            case ["git", "commits", of] if of in hosted.commits:
                return _json(_gitea_commit(of, hosted.commits[of]))
        return _json({"message": "Not Found"}, 404)

    def _paged(self, request: Request, items: Sequence[Mapping[str, Any]]) -> Answer:
        query = request.query
        size = min(self.PAGE, int(query.get("limit", 30)))
        page = int(query.get("page", 1))
        answer = _json(items[(page - 1) * size : page * size])
        url = f"{self.address}{request.path}?{urlencode({**query, 'page': page + 1})}"
        link = [("Link", f'<{url}>; rel="next"')] if items[page * size :] else []
        answer.headers = [("X-Total-Count", str(len(items))), *link]
        return answer


def _json(told: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(told).encode())


def _commit(of: str, made: Commit) -> dict[str, Any]:
    """Spell a commit as GitLab does."""
    at = moment(made.at_s)
    return {
        "id": of,
        "short_id": of[:8],
        "title": made.message,
        "message": made.message,
        "parent_ids": [made.parent] if made.parent else [],
        "author_name": made.author,
        "author_email": made.email,
        "committer_name": made.author,
        "committer_email": made.email,
        "authored_date": at,
        "committed_date": at,
        "created_at": at,
        "web_url": f"https://gitlab.example.com/-/commit/{of}",
    }


def _branch(hosted: Hosted, standing: Standing, ref: str) -> dict[str, Any]:
    target = standing.refs[ref]
    name = ref.removeprefix(HEADS)
    return {
        "name": name,
        "commit": _commit(target, hosted.commits[target]),
        "merged": False,
        "protected": False,
        "default": name == hosted.default_branch,
    }


def _tag(hosted: Hosted, ref: str) -> dict[str, Any]:
    target = hosted.now.refs[ref]
    spelled = _commit(target, hosted.commits[target])
    return {"name": ref.removeprefix(TAGS), "target": target, "commit": spelled}


def _event(hosted: Hosted, push: Any) -> dict[str, Any]:
    sorts = {"branch_creation": "created", "branch_deletion": "removed"}
    is_tag = push.ref.startswith(TAGS)
    return {
        "id": push.number,
        "project_id": hosted.id,
        "action_name": "pushed to",
        "created_at": moment(push.at_s),
        "author": {"id": 1, "username": push.pusher, "name": push.pusher.title()},
        "author_username": push.pusher,
        "push_data": {
            "commit_count": 1,
            "action": sorts.get(push.sort, "pushed"),
            "ref_type": "tag" if is_tag else "branch",
            "commit_from": None if push.before.strip("0") == "" else push.before,
            "commit_to": None if push.after.strip("0") == "" else push.after,
            "ref": push.ref.removeprefix(TAGS if is_tag else HEADS),
        },
    }


def _activity(project: Mapping[str, Any]) -> str:
    return str(project["last_activity_at"])


def _short_branch(hosted: Hosted, ref: str) -> dict[str, Any]:
    target = hosted.now.refs[ref]
    made = hosted.commits[target]
    return {"name": ref.removeprefix(HEADS), "commit": {"id": target, "message": made.message}}


def _gitea_commit(of: str, made: Commit) -> dict[str, Any]:
    who = {"name": made.author, "email": made.email, "date": moment(made.at_s)}
    inner = {"message": made.message, "author": who, "committer": who, "tree": {"sha": EMPTY_TREE}}
    parents = [{"sha": made.parent}] if made.parent else []
    return {"sha": of, "html_url": "", "commit": inner, "parents": parents, "files": None}
