"""Where a forge shows a commit, a comparison, a branch or a tag, where its addresses are known."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from app.domain.refs import is_tag, short_name
from app.domain.repository import parse_remote
from app.settings.types import Forge


@dataclass(frozen=True, slots=True)
class Addresses:
    """How one kind of forge spells its addresses, after the repository's own."""

    commit: str
    compare: str
    branch: str
    tag: str


KINDS = {
    "github": Addresses(
        "/commit/{id}", "/compare/{before}...{after}", "/tree/{name}", "/tree/{name}"
    ),
    "gitlab": Addresses(
        "/-/commit/{id}", "/-/compare/{before}...{after}", "/-/tree/{name}", "/-/tags/{name}"
    ),
    "gitea": Addresses(
        "/commit/{id}", "/compare/{before}...{after}", "/src/branch/{name}", "/src/tag/{name}"
    ),
}


class ForgeLinks:
    """Links from events and refs to the forge; None where its addresses are not known."""

    def __init__(self, forges: Mapping[str, Forge]) -> None:
        self._forges = forges

    def repository(self, forge: str, url: str) -> str | None:
        """Return the repository's own page."""
        return self._link(forge, url, lambda addresses: "")

    def commit(self, forge: str, url: str, commit_id: str) -> str | None:
        """Return a commit's page; None for the id of zeros."""
        if not commit_id.strip("0"):
            return None
        return self._link(forge, url, lambda kind: kind.commit.format(id=commit_id))

    def compare(self, forge: str, url: str, before: str, after: str) -> str | None:
        """Return the page that shows what lies between two commits; None if one is of zeros."""
        if not before.strip("0") or not after.strip("0"):
            return None
        return self._link(forge, url, lambda kind: kind.compare.format(before=before, after=after))

    def ref(self, forge: str, url: str, ref: str) -> str | None:
        """Return a branch's or tag's page."""
        name = quote(short_name(ref))
        return self._link(
            forge, url, lambda kind: (kind.tag if is_tag(ref) else kind.branch).format(name=name)
        )

    def _link(self, name: str, url: str, spell: Callable[[Addresses], str]) -> str | None:
        entry = self._forges.get(name)
        addresses = KINDS.get(entry.kind if entry else name)
        base = _base(url, entry)
        return None if addresses is None or base is None else base + spell(addresses)


def _base(url: str, forge: Forge | None) -> str | None:
    """Return the repository's address in a browser; over ssh only its forge knows it."""
    try:
        remote = parse_remote(url)
    except ValueError:
        return None
    path = remote.path.removesuffix(".git")
    if remote.scheme in {"http", "https"}:
        return remote.url.removesuffix(".git")
    if remote.scheme == "ssh" and forge and forge.url.startswith(("http://", "https://")):
        return f"{forge.url.rstrip('/')}/{quote(path)}"
    return None
