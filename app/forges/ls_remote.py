"""Reads refs by the git command: over ssh and git://, from local paths, and from odd servers."""

import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from app.domain.details import MOST_COMMITS, Commit, Details, Push
from app.domain.errors import ForgeAnswerInvalid, ForgeDenied, ForgeError, ForgeUnavailable
from app.domain.event import Event
from app.domain.repository import Repository
from app.domain.secret import MASK
from app.forges import commits, git_log, process
from app.forges.client import RefsReply
from app.forges.exchange import origin
from app.forges.git_http import SignIn, basic
from app.forges.listing import decode_ref, fingerprint, keep

log = logging.getLogger(__name__)

WAY = "ls-remote"
LIMIT_BYTES = 16 * 1024 * 1024
# For each server; a choice: sshd refuses further sign-ins at random from ten unfinished ones on
# (MaxStartups). One that hangs then holds up only those who ask it too.
MOST_AT_ONCE = 8

PROTOCOLS = "file:git:http:https:ssh"  # not ext::, which runs any command it is given

# What ssh and git say after, or instead of, what went wrong.
_NOISE = re.compile(
    r"fatal: could not read from remote repository|please make sure you have the correct access"
    r"|and the repository exists|warning: permanently added|fatal: the remote end hung up",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"permission denied|authentication failed|could not read (?:username|password)|access denied"
    r"|host key verification failed|not found|does not exist|not exported|not appear to be a git"
    r"|not a git repository|no such (?:project|repository)|returned error: 40[134]",
    re.IGNORECASE,
)
_REMEDIES = (
    ("host key verification failed", "add the server's key to known_hosts of the user we run as"),
    ("could not read username", "the server asks to sign in and no credentials are configured"),
    ("does not appear to be a git repository", "there is no Git repository at that path"),
)


class LsRemote:
    """A git client that starts ``git ls-remote`` for each question.

    Args:
        environ: What the command inherits; this process's environment by default.
        sign_in: For repositories on its server over HTTP whose URL carries no credentials.
        ca_file: Certificate authorities to trust over HTTPS, instead of git's own.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        sign_in: SignIn | None = None,
        ca_file: Path | None = None,
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._sign_in = sign_in
        self._ca_file = ca_file
        self._slots: dict[str, threading.BoundedSemaphore] = {}  # by host

    @property
    def is_available(self) -> bool:
        """Whether there is a git command."""
        return shutil.which("git", path=self._environ.get("PATH")) is not None

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """List every ref; the server is asked in full whatever the validator says."""
        arguments = ["ls-remote", "--symref", "--", address(repository)]
        finished = self._git(repository, arguments, timeout_s)
        if finished.status != 0:
            raise explain(decode_ref(finished.stderr), repository)
        seen = fingerprint(finished.stdout, repository)
        if seen == validator.get(WAY):
            return RefsReply(None, WAY, {WAY: seen})
        pairs, default_branch = parse(finished.stdout)
        if not pairs and repository.remote.scheme in {"http", "https"}:
            # Git takes a page of HTML, and even nothing, for a repository on a simple file server.
            raise ForgeAnswerInvalid("git found no refs, and over HTTP that may be a failure")
        return RefsReply(keep(pairs, repository), WAY, {WAY: seen}, default_branch)

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Ask the history itself where it is on this machine; a rewound one may be gone."""
        if repository.remote.scheme != "file":
            return None
        deadline = time.monotonic() + timeout_s

        def ask(*arguments: str) -> process.Finished:
            left = deadline - time.monotonic()
            return self._git(repository, ["-C", address(repository), *arguments], left)

        return commits.told(lambda: _describe(ask, change))

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Return None: a repository keeps no log of them that git would tell."""
        return None

    def _git(
        self, repository: Repository, arguments: list[str], timeout_s: float
    ) -> process.Finished:
        deadline = time.monotonic() + timeout_s
        late = ForgeUnavailable(f"timed out after {timeout_s:.3g} s")
        fresh = threading.BoundedSemaphore(MOST_AT_ONCE)
        slots = self._slots.setdefault(repository.remote.host, fresh)
        if not slots.acquire(timeout=timeout_s):
            raise late
        try:
            return process.run(
                ["git", *arguments],
                environ=self._environment(repository, timeout_s),
                timeout_s=deadline - time.monotonic(),
                limit_bytes=LIMIT_BYTES,
            )
        except process.TimedOut as error:
            raise late from error
        except process.TooMuch as error:
            raise ForgeAnswerInvalid(f"git printed more than {LIMIT_BYTES} bytes") from error
        except FileNotFoundError as error:
            raise ForgeUnavailable(
                "there is no git command on the PATH; ssh, git and local addresses need it"
            ) from error
        except OSError as error:
            raise ForgeUnavailable(f"git could not be started: {error.strerror}") from error
        finally:
            slots.release()

    def _environment(self, repository: Repository, timeout_s: float) -> dict[str, str]:
        """Return an environment in which git asks nobody anything and says it in English."""
        here = {
            name: text
            for name, text in self._environ.items()
            # Those of a hook we may have been started by would lead git to another repository.
            if name not in {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}
        }
        here |= {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",  # not unset: then SSH_ASKPASS would be asked
            "SSH_ASKPASS_REQUIRE": "never",
            "GCM_INTERACTIVE": "never",
            "GIT_ALLOW_PROTOCOL": PROTOCOLS,
            "GIT_OPTIONAL_LOCKS": "0",
            "LC_ALL": "C",
            "LANGUAGE": "",
        }
        if not {"GIT_SSH", "GIT_SSH_COMMAND"} & here.keys():
            wait_s = max(1, int(timeout_s))
            here["GIT_SSH_COMMAND"] = f"ssh -o BatchMode=yes -o ConnectTimeout={wait_s}"
        if self._ca_file is not None:
            here["GIT_SSL_CAINFO"] = str(self._ca_file)
        return here | dict(_git_settings(self._settings(repository), here))

    def _settings(self, repository: Repository) -> dict[str, str]:
        """Sign in over HTTP by a header that no argument and no URL shows."""
        if repository.remote.scheme not in {"http", "https"}:
            return {}
        sign_in = self._sign_in
        if repository.credentials is not None:
            header = basic(*repository.credentials)
        elif sign_in is not None and sign_in.origin == origin(repository.url):
            header = basic(sign_in.username, sign_in.secret)
        else:
            return {}
        return {
            "http.extraHeader": f"Authorization: {header['Authorization']}",
            "http.followRedirects": "false",  # the header would go along, wherever that leads
        }


def _describe(ask: Callable[..., process.Finished], change: Event) -> Details:
    """Tell the newest of what a branch gained; the newest commit alone of all else."""
    if commits.has_base(change):
        gained = f"{change.before}..{change.after}"
        counted = ask("rev-list", "--count", gained)
        if counted.status == 0:
            total = int(counted.stdout)
            kept = ask("merge-base", "--is-ancestor", change.before, change.after)
            forced = {0: False, 1: True}.get(kept.status)
            if not total:
                return Details(_log(ask, change.after), total, forced)
            newest = _log(ask, gained, has_files=True)
            return Details(commits.whole(newest, total), total, forced)
    return Details(_log(ask, change.after))


def _log(
    ask: Callable[..., process.Finished], wanted: str, *, has_files: bool = False
) -> tuple[Commit, ...]:
    """Return the newest commits, the newest last; one alone where its files are not wanted."""
    form = git_log.WITH_FILES if has_files else git_log.ALONE
    count = MOST_COMMITS if has_files else 1
    arguments = ["log", *form, "--topo-order", f"--max-count={count}", wanted, "--"]
    finished = ask(*git_log.QUIET, *arguments)
    if finished.status != 0:
        raise ValueError("git log failed")
    return tuple(reversed(git_log.parse(finished.stdout, has_files=has_files)))


def address(repository: Repository) -> str:
    """Return what git is told: the URL, or an absolute path."""
    remote = repository.remote
    if remote.scheme != "file":
        return repository.url
    return str(Path(remote.path).expanduser().absolute())


def parse(listing: bytes) -> tuple[list[tuple[str, str]], str | None]:
    r"""Read what ``git ls-remote --symref`` prints: pairs of ref and id, and the default branch.

    >>> parse(b"ref: refs/heads/main\tHEAD\na1\tHEAD\na1\trefs/heads/main\n")
    ([('refs/heads/main', 'a1')], 'refs/heads/main')

    Raises:
        ForgeAnswerInvalid: It is something else.
    """
    pairs: list[tuple[str, str]] = []
    default_branch = None
    for line in listing.split(b"\n")[:-1]:
        target, tab, name = line.rstrip(b"\r").partition(b"\t")
        if not tab:
            raise ForgeAnswerInvalid("git ls-remote printed something else than refs")
        if name == b"HEAD":
            if target.startswith(b"ref: "):
                default_branch = decode_ref(target[5:])
        elif not target.startswith(b"ref: "):
            pairs.append((decode_ref(name), target.decode("ascii", "replace")))
    return pairs, default_branch


def explain(stderr: str, repository: Repository) -> ForgeError:
    """Return the error that git's last words mean, in one line and without credentials."""
    if "dubious ownership" in stderr:
        path = address(repository)
        return ForgeDenied(
            f"{path} belongs to another user, so git refuses it; as the user that runs this "
            f"program: git config --global --add safe.directory {path}"
        )
    said = masked(_last_words(stderr), repository)
    for words, remedy in _REMEDIES:
        if words in said.lower():
            return ForgeDenied(f"{said} ({remedy})")
    sort = ForgeDenied if _DENIED.search(said) else ForgeUnavailable
    return sort(said)


def masked(text: str, repository: Repository) -> str:
    """Return a text without the repository's credentials or any URL's."""
    if repository.credentials is not None:
        text = text.replace(repository.credentials[1].reveal(), MASK)
    return re.sub(r"://[^/@\s]+@", f"://{MASK}@", text)


def _last_words(stderr: str) -> str:
    printable = "".join(c if c.isprintable() or c == "\n" else " " for c in stderr)
    lines = [line.strip() for line in printable.splitlines() if line.strip()]
    telling = [line for line in lines if not _NOISE.search(line)] or lines
    if not telling:
        return "git failed and said nothing"
    return telling[-1].removeprefix("fatal: ").removeprefix("ERROR: ")[:300]


def _git_settings(
    settings: Mapping[str, str], environ: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Spell settings as git reads them from the environment, after those that are there already."""
    if not settings:
        return
    given = environ.get("GIT_CONFIG_COUNT", "0")
    first = int(given) if given.isdigit() else 0
    for number, (name, text) in enumerate(settings.items(), start=first):
        yield f"GIT_CONFIG_KEY_{number}", name
        yield f"GIT_CONFIG_VALUE_{number}", text
    yield "GIT_CONFIG_COUNT", str(first + len(settings))
