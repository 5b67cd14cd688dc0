"""A text that must not be shown: it masks itself wherever it is printed."""

from dataclasses import dataclass

MASK = "••••••"


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A token, password or key; only ``reveal`` tells it.

    >>> token = Secret("ghp_abcdef")
    >>> f"{token} {token!r}"
    '•••••• Secret(••••••)'
    >>> token.reveal()
    'ghp_abcdef'
    """

    _text: str

    def reveal(self) -> str:
        """Return the text itself; call it only where it is handed to the one who must have it."""
        return self._text

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __bool__(self) -> bool:
        return bool(self._text)
