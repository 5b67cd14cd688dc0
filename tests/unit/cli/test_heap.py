"""The C library is asked to keep less only where it understands that."""

import ctypes
import sys

import pytest

from app.cli import heap


class Library:
    """A C library that notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[int, ...]]] = []

    def mallopt(self, *arguments: int) -> int:
        self.asked.append(("mallopt", arguments))
        return 1

    def malloc_trim(self, *arguments: int) -> int:
        self.asked.append(("malloc_trim", arguments))
        return 1


def test_glibc_is_told_to_share_and_to_give_back(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)

    heap.share_heaps()
    heap.give_back()

    assert library.asked == [("mallopt", (-8, 2)), ("malloc_trim", (0,))]


@pytest.mark.parametrize("platform", ["linux", "win32", "darwin"])
def test_another_library_is_asked_for_nothing(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())

    heap.share_heaps()
    heap.give_back()
