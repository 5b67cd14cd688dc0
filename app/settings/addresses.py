"""The kinds of settings that say where something is: addresses, URLs, remotes, HTTP headers."""

import os
import re
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

from app.domain.repository import DEFAULT_PORTS, Remote, parse_remote
from app.domain.secret import MASK, Secret
from app.settings.fields import Scalar, nearest
from app.settings.files import SecretText, folder_of


class Listen(Scalar):
    """An address to serve at, kept as host (without brackets) and port."""

    def parse(self, text: str) -> tuple[str, int]:
        """Read ``HOST:PORT``."""
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+)):(\d{1,5})", text)
        if match is None or int(match[3]) > 65535:  # noqa: PLR2004 - the highest port there is
            raise ValueError("is not HOST:PORT; write 127.0.0.1:8080, or [::]:8080 for everywhere")
        if match[1]:
            ip_address(match[1])  # its ValueError says what is wrong
        return match[1] or match[2], int(match[3])

    def read(self, owner: Any) -> tuple[str, int]:
        """Return both parts."""
        return owner.host, owner.port

    def write(self, value: Any) -> Any:
        """Put them together."""
        host, port = value
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def describe(self) -> dict[str, Any]:
        """A host and a port."""
        return {"type": "string", "pattern": r"^(\[.+\]|[^:]+):\d{1,5}$"}


class WebUrl(Scalar):
    """An http or https URL without credentials; ``is_base``: others are made by adding to it."""

    def __init__(
        self, says: str, *, required: bool = False, nullable: bool = False, is_base: bool = False
    ) -> None:
        super().__init__(says, required=required, nullable=nullable)
        self._is_base = is_base

    def parse(self, text: str) -> str:
        """Check the URL, and write its scheme and host in small letters."""
        parts = urlsplit(text)
        if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
            raise ValueError("is not a URL; write https://HOST/PATH")
        if not text.isprintable() or " " in text:
            raise ValueError("holds a space or another character that no URL has")
        if parts.username is not None:
            raise ValueError("holds credentials; name them in a secret, token or header instead")
        if parts.fragment or (self._is_base and parts.query):
            raise ValueError("ends in what is not sent; leave out # and ?")
        if parts.port == 0:
            raise ValueError("has no port that could be asked")
        scheme, place = parts.scheme.lower(), parts.netloc.lower()
        if parts.port == DEFAULT_PORTS[scheme]:
            place = place.rpartition(":")[0]
        path = parts.path.rstrip("/") if self._is_base else parts.path
        return urlunsplit((scheme, place, path, parts.query, ""))

    def describe(self) -> dict[str, Any]:
        """A URL."""
        return {"type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://"}


class ProxyAddress(Scalar):
    """The address of the one proxy that is believed, or ``*`` for whoever asks."""

    def parse(self, text: str) -> str:
        """Read the address."""
        if text != "*":
            try:
                ip_address(text)
            except ValueError:
                raise ValueError("is not an IP address; write 127.0.0.1, or * for any") from None
        return str(text)


class HeaderName(Scalar):
    """The name of an HTTP header that deliveries may add."""

    _OURS: ClassVar[frozenset[str]] = frozenset(
        {"connection", "content-encoding", "content-length", "host", "te"}
        | {"transfer-encoding", "upgrade"}
    )

    def parse(self, text: str) -> str:
        """Take a token of RFC 9110 that is not ours to set."""
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text):
            raise ValueError("is not the name of a header")
        if text.lower() in self._OURS:
            raise ValueError("is set by the delivery itself; leave it out")
        return str(text)


class HeaderValue(Scalar):
    """The value of an HTTP header; it may be a credential, so it is never shown."""

    is_secret: ClassVar[bool] = True

    def parse(self, text: str) -> str:
        """Take what fits on one line of Latin-1, as HTTP/1.1 wants."""
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
            raise ValueError("holds a line break or another control character")
        try:
            text.encode("latin-1")
        except UnicodeEncodeError:
            raise ValueError("holds a character that no HTTP header can carry") from None
        return text.strip(" \t")

    def write(self, value: Any) -> Any:
        """Mask it with what a header may hold, so that it could be loaded again."""
        return "*" * len(MASK)


class RemoteUrl(Scalar):
    """Any address that git understands; a relative path starts at the folder of its file."""

    def parse(self, text: str) -> Remote:
        """Take the address apart."""
        try:
            remote = parse_remote(text)
        except ValueError as error:
            raise ValueError(f"is not a repository's address: {error}") from None
        if remote.scheme != "file" or "://" in text:
            return remote
        path = folder_of(text) / remote.path
        if re.match(r"[\w-]+(\.[\w-]+)+/", remote.path) and not path.exists():
            raise ValueError(f"is no folder here; for a server write https://{remote.path}")
        located = os.path.normpath(path)
        return replace(remote, path=located, url=located)

    def read(self, owner: Any) -> str:
        """Return the address; the user's name is masked too, it may be a token."""
        if owner.credentials is None:
            return str(owner.url)
        scheme, _, rest = owner.url.partition("://")
        return f"{scheme}://{MASK}@{rest}"


class DatabaseUrl(SecretText):
    """A database's URL; the password in it is secret, the rest is shown."""

    SCHEMES: ClassVar[tuple[str, ...]] = (
        "sqlite",
        "postgresql",
        "postgresql+psycopg",
        "mysql+pymysql",
        "mariadb+pymysql",
    )

    def parse(self, text: str) -> Secret:
        """Check the scheme."""
        scheme, found, _ = text.partition("://")
        if not found or scheme not in self.SCHEMES:
            meant = nearest(scheme, self.SCHEMES) if re.fullmatch(r"[\w+]+", scheme) else ""
            words = ", ".join(f"{word}://" for word in self.SCHEMES)
            raise ValueError(f"begins with none of {words}{meant}")
        return super().parse(text)

    def write(self, value: Any) -> Any:
        """Mask the password alone."""
        return re.sub(r"(://[^:/@]*):.*@", rf"\g<1>:{MASK}@", value.reveal())

    def describe(self) -> dict[str, Any]:
        """One of the schemes."""
        schemes = "|".join(re.escape(scheme) for scheme in self.SCHEMES)
        return {"type": "string", "pattern": f"^({schemes})://"}
