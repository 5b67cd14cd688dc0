"""The kinds of values a setting can have: how each is read, written, and described to an editor.

To add a kind: a class here with ``parse`` (text to value, ValueError with a phrase that follows the
value: «15» *has no unit*), ``write`` (value to what stands in a file) and ``describe`` (the same as
JSON Schema).
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields

from app.domain.refs import compile_pattern
from app.domain.secret import MASK
from app.settings import units
from app.settings.types import Objective

MISSING = "is missing"
EMPTY = "must not be empty; leave the line out to have the default"

# A value may come from the environment wherever it stands; what it will be, no editor can know.
_FROM_ENVIRONMENT = {"type": "string", "pattern": r"\$\{"}
_LONGEST_SHOWN = 60
# What no path has that git tells: a folder called . or .., an empty one, backslashes between them.
_MATCHES_NO_PATH = re.compile(r"\\|(^!?|/)\.{1,2}(/|$)|//")


def shown(text: str) -> str:
    """Shorten a value for a message, and mask what is secret in a URL.

    >>> shown("https://bob:s3cret@git.example.com/site.git")
    'https://••••••@git.example.com/site.git'
    """
    masked = re.sub(r"(://)[^/\s]*@", rf"\g<1>{MASK}@", text)
    is_long = len(masked) > _LONGEST_SHOWN
    return masked[: _LONGEST_SHOWN - 1] + "…" if is_long else masked


def nearest(word: str, words: Iterable[str]) -> str:
    """Say which of ``words`` was probably meant, as the end of a sentence, or nothing.

    >>> nearest("intervall", ["interval", "timeout"])
    '; did you mean interval?'
    """
    found = difflib.get_close_matches(word.lower(), list(words), n=1)
    return f"; did you mean {found[0]}?" if found else ""


class Scalar(fields.Field[Any]):
    """A value that is written as one word or line.

    ``source`` names the attribute of the settings that holds it, where that is not its own name.
    """

    is_secret: ClassVar[bool] = False

    def __init__(
        self, says: str, *, required: bool = False, nullable: bool = False, source: str = ""
    ) -> None:
        super().__init__(
            required=required,
            allow_none=nullable,
            metadata={"description": says},
            error_messages={"required": MISSING, "null": EMPTY},
        )
        self.source = source

    def parse(self, text: str) -> Any:
        """Make the value of its text.

        Raises:
            ValueError: It cannot be; the message goes on where the value ended.
        """
        return str(text)

    def write(self, value: Any) -> Any:
        """Return what stands in a file for this value; None for None."""
        return value

    def describe(self) -> dict[str, Any]:
        """Return the JSON Schema of what may be written."""
        return {"type": "string"}

    def read(self, owner: object) -> Any:
        """Return this setting's value out of the settings that hold it."""
        return attrgetter(self.source or str(self.name))(owner)

    def json(self) -> dict[str, Any]:
        """Return ``describe`` with the ways that every value has: the environment, and nothing."""
        allowed = self.describe()
        ways = [allowed]
        if allowed != {"type": "string"}:
            ways.append(_FROM_ENVIRONMENT)
        if self.allow_none:
            ways.append({"type": "null"})
        return allowed if len(ways) == 1 else {"anyOf": ways}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str):
            kind = "a list" if isinstance(value, list) else "a mapping"
            raise ValidationError(f"must be one value, not {kind}")
        try:
            return self.parse(value)
        except ValueError as error:
            subject = "the value" if self.is_secret else f"«{shown(value)}»"
            raise ValidationError(f"{subject} {error}") from None


class Line(Scalar):
    """Any text of one line."""

    def parse(self, text: str) -> str:
        """Take the text as it is, unless it would break a line."""
        if not text.isprintable():
            raise ValueError("holds a line break or another character that cannot be printed")
        return str(text)


class Choice(Scalar):
    """One of a few words."""

    def __init__(self, says: str, *allowed: str, nullable: bool = False) -> None:
        super().__init__(says, nullable=nullable)
        self.allowed = allowed

    def parse(self, text: str) -> str:
        """Take one of the words."""
        if text not in self.allowed:
            words = ", ".join(self.allowed)
            raise ValueError(f"is not one of {words}{nearest(text, self.allowed)}")
        return str(text)

    def describe(self) -> dict[str, Any]:
        """List the words."""
        return {"enum": list(self.allowed)}


class Whole(Scalar):
    """A whole number between two bounds, both allowed."""

    def __init__(self, says: str, least: int, most: int, *, required: bool = False) -> None:
        super().__init__(says, required=required)
        self.least, self.most = least, most

    def parse(self, text: str) -> int:
        """Read the number."""
        if not re.fullmatch(r"[+-]?\d{1,18}", text) or not self.least <= int(text) <= self.most:
            raise ValueError(f"is not a whole number of {self.least} to {self.most}")
        return int(text)

    def describe(self) -> dict[str, Any]:
        """Give the bounds."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


class Weight(Scalar):
    """A number above zero."""

    def parse(self, text: str) -> float:
        """Read the number."""
        if not re.fullmatch(r"\+?\d{1,9}(\.\d{1,9})?", text) or not float(text):
            raise ValueError("is not a number above 0, such as 1.0 or 2.5")
        return float(text)

    def describe(self) -> dict[str, Any]:
        """Give the bound."""
        return {"type": "number", "exclusiveMinimum": 0}


class Flag(Scalar):
    """Yes or no."""

    _WORDS: ClassVar[dict[str, bool]] = {
        **dict.fromkeys(("true", "yes", "on"), True),
        **dict.fromkeys(("false", "no", "off"), False),
    }

    def parse(self, text: str) -> bool:
        """Read what YAML takes for a boolean."""
        if text.lower() not in self._WORDS:
            raise ValueError("is neither true nor false")
        return self._WORDS[text.lower()]

    def describe(self) -> dict[str, Any]:
        """It is a boolean."""
        return {"type": "boolean"}


class Duration(Scalar):
    """A length of time with its unit, at least ``least``."""

    def __init__(self, says: str, least: str = "10ms", *, nullable: bool = False) -> None:
        super().__init__(says, nullable=nullable)
        self.least = least

    def parse(self, text: str) -> Any:
        """Read the duration."""
        duration = units.parse_duration(text)
        if duration < units.parse_duration(self.least):
            raise ValueError(f"is too short; the least is {self.least}")
        return duration

    def write(self, value: Any) -> Any:
        """Write it with its units."""
        return None if value is None else units.format_duration(value)

    def describe(self) -> dict[str, Any]:
        """Numbers with units."""
        return {"type": "string", "pattern": r"^(\d+(\.\d+)?\s*(ms|s|m|h|d)\s*)+$"}


class Share(Scalar):
    """A percentage, kept as a share of one."""

    def parse(self, text: str) -> float:
        """Read the percentage."""
        return units.parse_share(text)

    def write(self, value: Any) -> Any:
        """Write the percentage."""
        return units.format_share(value)

    def describe(self) -> dict[str, Any]:
        """A number with its sign."""
        return {"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$"}


class Rate(Scalar):
    """So many in a second, a minute or an hour; kept for each second."""

    def parse(self, text: str) -> float:
        """Read the rate."""
        return units.parse_rate(text)

    def write(self, value: Any) -> Any:
        """Write it with the unit that suits."""
        return None if value is None else units.format_rate(value)

    def describe(self) -> dict[str, Any]:
        """A number and its unit."""
        return {"type": "string", "pattern": r"^\d+(\.\d+)?\s*/\s*[smh]$"}


class LatencyObjective(Scalar):
    """``30s for 95%``."""

    def parse(self, text: str) -> Objective:
        """Read the duration and the share."""
        within, found, share = text.partition(" for ")
        if not found:
            raise ValueError("is not an objective; write 30s for 95%")
        return Objective(units.parse_duration(within.strip()), units.parse_share(share.strip()))

    def write(self, value: Any) -> Any:
        """Write both."""
        return f"{units.format_duration(value.within)} for {units.format_share(value.share)}"

    def describe(self) -> dict[str, Any]:
        """A duration for a percentage."""
        return {"type": "string", "pattern": r"^[0-9.]+(ms|s|m|h|d).* for [0-9.]+\s*%$"}


class Expected(Scalar):
    """Which answers of a receiver mean that it has taken a delivery."""

    def parse(self, text: str) -> str:
        """Read ``2xx``, or one status."""
        if not re.fullmatch(r"2xx|2[0-9]{2}", text):
            raise ValueError("is neither 2xx nor one status such as 202")
        return str(text)

    def describe(self) -> dict[str, Any]:
        """The word, or a number."""
        return {
            "anyOf": [
                {"type": "string", "pattern": r"^2(xx|\d\d)$"},
                {"type": "integer", "minimum": 200, "maximum": 299},
            ]
        }


class Name(Scalar):
    """What people and URLs call a forge or receiver, or (``has_owner``) a repository."""

    def __init__(
        self, says: str, *, longest: int, has_owner: bool = False, nullable: bool = False
    ) -> None:
        super().__init__(says, nullable=nullable)
        self._longest, self._has_owner = longest, has_owner
        word = r"(?=[^/]*[^./])[\w.+~@-]+" if has_owner else r"[A-Za-z0-9][A-Za-z0-9._-]*"
        self._pattern = re.compile(rf"{word}(/{word})*" if has_owner else word)

    def parse(self, text: str) -> str:
        """Take a name that can stand in a URL and in a log."""
        if len(text) > self._longest:
            raise ValueError(f"is longer than {self._longest} characters")
        if not self._pattern.fullmatch(text):
            slash = ", and / between them" if self._has_owner else ""
            raise ValueError(f"is not a name; take letters, digits and . _ -{slash}")
        return str(text)


# A choice: as much is tried on every path of every change.
LONGEST_PATH_PATTERN = 500


class RefPattern(Scalar):
    """Which branches or tags: a glob, ``!glob``, or a regular expression between slashes."""

    def parse(self, text: str) -> str:
        """Take a pattern that compiles."""
        if not text.removeprefix("!"):
            raise ValueError("matches nothing; write a glob such as release-*")
        try:
            compile_pattern(str(text).removeprefix("!"))
        except re.error as error:
            raise ValueError(f"is not a valid regular expression: {error}") from None
        return str(text)


class PathPattern(Scalar):
    """Which files: a glob, or ``!glob``."""

    def parse(self, text: str) -> str:
        """Take a pattern that a path could match."""
        if not text.removeprefix("!").removeprefix("/"):
            raise ValueError("matches nothing; write a glob such as src/**")
        if _MATCHES_NO_PATH.search(text):
            raise ValueError(
                "matches nothing, since paths begin at the repository's root and have /"
                " between folders; write a glob such as src/**"
            )
        if len(text) > LONGEST_PATH_PATTERN:
            raise ValueError(f"is longer than {LONGEST_PATH_PATTERN} characters")
        return str(text)


class Many(fields.List[Any]):
    """A list of values; an empty or missing one is the default."""

    def __init__(self, says: str, inner: fields.Field[Any], *, source: str = "") -> None:
        super().__init__(
            inner,
            allow_none=True,
            metadata={"description": says},
            error_messages={"invalid": "must be a list; write [one, two]"},
        )
        self.source = source
        self.is_secret = bool(getattr(inner, "is_secret", False))

    def read(self, owner: object) -> Any:
        """Return the values."""
        return attrgetter(self.source or str(self.name))(owner)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, str):
            one = "${ONE}" if self.is_secret else shown(value)
            raise ValidationError(f"must be a list; write [{one}]")
        if isinstance(value, Mapping):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class Paths(Many):
    """A list of path patterns, the first of which lets some in."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        found = super()._deserialize(value, attr, data, **kwargs)
        if found and found[0].startswith("!"):
            raise ValidationError('begins with what it takes out; begin with "**" to mean all else')
        return found


class Keyed(fields.Dict):
    """Values by name; an empty or missing one is the default."""

    def __init__(self, says: str, keys: fields.Field[Any], values: fields.Field[Any]) -> None:
        super().__init__(
            keys,
            values,
            allow_none=True,
            metadata={"description": says},
            error_messages={"invalid": "must hold names, each with what belongs to it"},
        )

    def read(self, owner: object) -> Any:
        """Return the mapping."""
        return getattr(owner, str(self.name))


class Inner(fields.Nested):
    """Settings that belong together; ``is_entry``: one of a list or mapping, never left empty."""

    def __init__(self, says: str, schema: type[Schema], *, is_entry: bool = False) -> None:
        super().__init__(schema, allow_none=not is_entry, metadata={"description": says})

    def read(self, owner: object) -> Any:
        """Return the settings below."""
        return getattr(owner, str(self.name))

    def _validate_missing(self, value: Any) -> None:
        # With its valid part, which is nothing, an empty entry keeps its place in a list.
        if value is None and not self.allow_none:
            raise ValidationError("is empty; write its settings below", valid_data={})
        super()._validate_missing(value)
