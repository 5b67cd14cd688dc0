"""A git client that says what it is told to."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from app.domain.details import Details, Push
from app.domain.event import Event
from app.domain.repository import Repository
from app.domain.snapshot import Refs
from app.forges.client import RefsReply


class FakeGitClient:
    """Answers with ``refs``, or raises ``error``; knows unchanged refs by an ETag.

    Every change is described by ``details``, after ``on_describe`` was called with it.
    """

    def __init__(self, refs: Refs, *, etag: str = "1") -> None:
        self.refs = dict(refs)
        self.etag = etag
        self.error: Exception | None = None
        self.details: Details | None = None
        self.on_describe: Callable[[Event], None] = lambda _: None
        self.described: list[str] = []  # the refs that were asked about
        self.log: tuple[Push, ...] | None = None  # of pushes
        self.log_asked_since: list[datetime] = []
        self.validators: list[Mapping[str, str]] = []
        self.urgencies: list[bool] = []
        self.read_by = "rest"
        self.lag = timedelta(0)
        self.default_branch: str | None = "refs/heads/main"

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        self.validators.append(validator)
        self.urgencies.append(urgent)
        if self.error is not None:
            raise self.error
        tag = {"etag": self.etag}
        if dict(validator) == tag:
            return RefsReply(None, self.read_by, validator=tag, lag=self.lag)
        return RefsReply(
            dict(self.refs),
            self.read_by,
            validator=tag,
            default_branch=self.default_branch,
            lag=self.lag,
        )

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        self.log_asked_since.append(since)
        return self.log

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        self.described.append(change.ref)
        self.on_describe(change)
        return self.details
