"""Whether a page is well-formed, accessible in the plainest sense, and self-contained."""

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "hr", "img"}  # SVG closes its own with a slash
REFERENCES = {"src", "srcset", "action", "data", "poster"}


class Page(HTMLParser):
    """Reads a page and notes what is wrong with it, and what it holds."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.title = ""
        self.tags: list[str] = []
        self._open: list[str] = []
        self._captions: list[int] = []
        self._ids: set[str] = set()
        self.feed(html)
        self.close()
        if self._open:
            self.faults.append(f"never closed: {self._open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        if len(given) != len(attrs):
            self.faults.append(f"an attribute twice in {tag}")
        self._check(tag, given)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._check(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self._open[-1:]}")
        else:
            self._open.pop()
        if tag == "table" and not self._captions.pop():
            self.faults.append("a table without a caption")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open == ["html", "head", "title"]:
            self.title += data

    def _check(self, tag: str, given: dict[str, str | None]) -> None:
        if tag == "table":
            self._captions.append(0)
        if tag == "caption":
            self._captions[-1] += 1
        if tag == "th" and given.get("scope") not in {"col", "row"}:
            self.faults.append("a th without scope")
        if tag == "a" and (href := given.get("href")):
            self.links.append(href)
        if (identity := given.get("id")) is not None:
            if identity in self._ids:
                self.faults.append(f"the id {identity} twice")
            self._ids.add(identity)
        self._check_policy(tag, given)

    def _check_policy(self, tag: str, given: dict[str, str | None]) -> None:
        if tag == "script" or "style" in given or any(name.startswith("on") for name in given):
            self.faults.append(f"{tag} would need a laxer policy: {given}")
        for name in REFERENCES & given.keys():
            if "//" in (given[name] or ""):
                self.faults.append(f"{tag} asks another server: {given[name]}")
        if tag == "link" and "//" in (given.get("href") or "").partition("data:")[0]:
            self.faults.append(f"link asks another server: {given}")
