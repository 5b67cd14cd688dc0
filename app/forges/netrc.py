"""Signing in over HTTP with what stands in ``~/.netrc``, as git and curl do.

A ``machine`` entry is used for that host alone, and only where neither the repository's URL nor its
forge's entry has credentials. Unlike curl, the ``default`` entry is never used: it would send a
password to every host that is watched. The file is that of ``NETRC``, else ``.netrc`` in the home
folder (on Windows also ``_netrc``). It is read when it is first needed and when it has changed; one
that cannot be read signs nobody in, and is warned of once.
"""

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from app.domain.repository import Repository
from app.domain.secret import Secret

log = logging.getLogger(__name__)

Credentials = tuple[str, Secret]
_Mark = tuple[int, int, int]


class Netrc:
    """Credentials by host, from the first of ``files`` that is there; safe for many threads."""

    def __init__(self, files: tuple[Path, ...] = ()) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._read: tuple[Path, _Mark] | None = None
        self._by_host: Mapping[str, Credentials] = {}

    @classmethod
    def of_user(cls, environ: Mapping[str, str] = os.environ) -> "Netrc":
        """Return that of whoever runs this."""
        named = environ.get("NETRC")
        if named:
            return cls((Path(named),))
        names = [".netrc", "_netrc"] if os.name == "nt" else [".netrc"]
        home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() fails where there is none
        return cls(tuple(home / name for name in names))

    def signed(self, repository: Repository) -> Credentials | None:
        """Return what signs in to a repository's host over HTTP."""
        known = self._current()
        remote = repository.remote if known else None
        if remote is None or remote.scheme not in {"http", "https"}:
            return None
        return known.get(remote.host)

    def _current(self) -> Mapping[str, Credentials]:
        found = self._find()
        if found != self._read:
            with self._lock:
                self._by_host = _load(found[0]) if found else {}
                self._read = found
        return self._by_host

    def _find(self) -> tuple[Path, _Mark] | None:
        for file in self._files:
            try:
                stat = file.stat()
            except OSError:
                continue
            return file, (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return None


def _load(file: Path) -> Mapping[str, Credentials]:
    """Read the file; of what is wrong with it no word is told, since it might be a password."""
    import netrc  # only for who has such a file

    try:
        hosts = netrc.netrc(file).hosts
    except (OSError, ValueError, netrc.NetrcParseError) as error:
        line = getattr(error, "lineno", None)
        where = f"{file}, line {line}" if line else str(file)
        reason = error.strerror if isinstance(error, OSError) else "it is not what netrc(5) says"
        log.warning("netrc is not used", extra={"file": where, "error": reason})
        return {}
    return {
        host.lower(): (login or "", Secret(password))
        for host, (login, _, password) in hosts.items()
        if host != "default" and password
    }
