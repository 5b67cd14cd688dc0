"""What can go wrong, each with a code for machines and a sentence for people.

::

    RepoSentryError
    ├── ConfigurationInvalid
    ├── NotFound
    ├── InputInvalid
    ├── Conflict
    ├── PayloadUnrenderable
    ├── ForgeError
    │   ├── ForgeUnavailable
    │   ├── ForgeRateLimited
    │   ├── ForgeBusy
    │   ├── ForgeDenied
    │   │   └── ForgeSignInRefused
    │   └── ForgeAnswerInvalid
    └── StorageError
        ├── StorageUnavailable
        ├── StorageOutdated
        └── LeaseLost

Adapters translate their library's errors into these at the rim; only ``web`` knows HTTP statuses
and only ``cli`` knows exit codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


class RepoSentryError(Exception):
    """Anything this program can explain; never raised itself."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong in a configuration, and how to mend it.

    ``line`` and ``column`` count from 1 and are None where the value came from a command line.
    ``path`` is the key path (``receivers.tekton.timeout``); ``value`` is already masked.
    """

    path: str
    message: str
    value: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        """Read as compilers write: ``file:line:column: path: message``."""
        place = ":".join(str(p) for p in (self.file, self.line, self.column) if p is not None)
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigurationInvalid(RepoSentryError):
    """The configuration cannot be used; carries every mistake at once."""

    code = "configuration_invalid"

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = tuple(mistakes)


class NotFound(RepoSentryError):
    """There is no such thing."""

    code = "not_found"


class InputInvalid(RepoSentryError):
    """What was asked for cannot be understood; ``mistakes`` maps each field to what is wrong."""

    code = "validation_failed"

    def __init__(self, message: str, *, mistakes: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.mistakes = mistakes or {}


class Conflict(RepoSentryError):
    """The thing is in a state that does not allow this."""

    code = "conflict"


class PayloadUnrenderable(RepoSentryError):
    """An event could not be spelled in a receiver's payload format."""

    code = "payload_unrenderable"


class ForgeError(RepoSentryError):
    """A forge or git server did not tell a repository's refs; never raised itself."""

    code = "forge_error"


class ForgeUnavailable(ForgeError):
    """No answer in time, a broken connection, or a 5xx."""

    code = "forge_unavailable"
    retryable = True


class ForgeRateLimited(ForgeError):
    """The forge's allowance is spent; asking again before ``reset_at`` only makes it worse."""

    code = "forge_rate_limited"
    retryable = True

    def __init__(self, message: str, *, reset_at: datetime) -> None:
        super().__init__(message)
        self.reset_at = reset_at


class ForgeBusy(ForgeError):
    """Nothing was asked: by our own pacing the next request goes at ``at``. No failure at all."""

    code = "forge_busy"
    retryable = True

    def __init__(self, message: str, *, at: datetime) -> None:
        super().__init__(message)
        self.at = at


class ForgeDenied(ForgeError):
    """Access denied, or no such repository (a forge hides which)."""

    code = "forge_denied"


class ForgeSignInRefused(ForgeDenied):
    """The credential is missing, wrong or expired; asking again with it may count as an attack.

    ``until`` is when it is tried once more, where it is one of the configuration's.
    """

    code = "forge_sign_in_refused"

    def __init__(self, message: str, *, until: datetime | None = None) -> None:
        super().__init__(message)
        self.until = until


class ForgeAnswerInvalid(ForgeError):
    """The answer was cut off, too large, or not what the protocol says."""

    code = "forge_answer_invalid"
    retryable = True


class StorageError(RepoSentryError):
    """The database did not do what was asked; never raised itself."""

    code = "storage_error"


class StorageUnavailable(StorageError):
    """The database does not answer, is locked, or its disk is full; nothing was written."""

    code = "storage_unavailable"
    retryable = True


class StorageOutdated(StorageError):
    """The database's schema is not the one this version was made for."""

    code = "storage_outdated"


class LeaseLost(StorageError):
    """Another process polls and delivers now; this one must not write what it found."""

    code = "lease_lost"
