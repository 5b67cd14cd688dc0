"""The modelled receivers: what they take, what they answer, and what they remember of it."""

from collections.abc import Callable
from dataclasses import dataclass

from app.simulation.forge import Answers
from app.simulation.loop import Loop
from app.simulation.plan import Happening
from app.transport import NoAnswer, Reply

HOSTILE = {
    "Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT",
    "Location": "//[",
    "Content-Type": "\x00",
    "X-Noise": "é" * 300,
}
LATER_S = 30
# Of the requests to a receiver that is well: taken, but the answer is lost on the way.
LOST = 0.03


@dataclass(slots=True)
class _Fault:
    what: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes of one request: when, whether the receiver took it, and what it answers."""

    took_ms: int
    is_taken: bool
    reply: Reply | NoAnswer


class ModelReceiver:
    """One receiver, which answers 202 while all is well."""

    def __init__(self, name: str, loop: Loop, chance: Callable[[], float]) -> None:
        self.name = name
        self._loop = loop
        self._chance = chance
        self._faults: list[_Fault] = []
        self.requests = 0
        self.taken = 0

    def fail(self, happening: Happening) -> None:
        """Begin to fail as told."""
        self._faults.append(_Fault(happening.what, self._loop.ms + happening.length_ms))

    def recover(self) -> None:
        """Fail no more."""
        self._faults.clear()

    def outcome(self, timeout_s: float) -> Outcome:
        """Decide about one request."""
        self.requests += 1
        fault = next((f.what for f in self._faults if f.until_ms > self._loop.ms), None)
        took_ms = 5 + int(self._chance() * 60)
        late_ms = int(timeout_s * 1000)
        if fault is None:
            if self._chance() < LOST:
                lost = NoAnswer("connection closed", kind="closed")
                return self._took(took_ms, lost)
            return self._took(took_ms, Reply(202, Answers({}), b"{}"))
        if fault == "refused":
            return Outcome(1, False, NoAnswer("connection refused", kind="connect"))
        if fault == "hang":
            return Outcome(late_ms, False, NoAnswer("timed out", kind="timeout"))
        if fault == "hang taken":
            return self._took(late_ms, NoAnswer("timed out", kind="timeout"))
        if fault == "closed taken":
            return self._took(took_ms, NoAnswer("connection closed", kind="closed"))
        if fault == "slow":
            slow_ms = int(late_ms * 0.9 * self._chance())
            return self._took(slow_ms, Reply(202, Answers({}), b"{}"))
        if fault == "hostile":
            return self._took(took_ms, Reply(200, Answers(HOSTILE), b"\xff\xfe\x00"))
        headers, status = _refusal(fault)
        return Outcome(took_ms, False, Reply(status, Answers(headers), fault.encode()))

    def _took(self, took_ms: int, reply: Reply | NoAnswer) -> Outcome:
        self.taken += 1
        return Outcome(took_ms, True, reply)


def _refusal(fault: str) -> tuple[dict[str, str], int]:
    if fault == "503 later":
        return {"Retry-After": str(LATER_S)}, 503
    if fault == "429":
        return {"Retry-After": str(LATER_S)}, 429
    if fault == "307":
        return {"Location": "https://elsewhere.example.com/"}, 307
    return {}, int(fault)
