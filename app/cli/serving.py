"""Runs the whole program in one process: pages and API, polling, delivery, and an orderly end."""

import errno
import gc
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any
from wsgiref.types import WSGIApplication

import click
from waitress import wasyncore
from waitress.server import create_server

from app import create_app
from app.cli import heap
from app.cli.doorstep import Doorstep
from app.runtime import Runtime
from app.settings.types import Settings

LARGEST_REQUEST = 1024 * 1024  # bytes; the API takes small JSON documents only
LARGEST_HOOK = 25 * 1024 * 1024  # bytes; as much as GitHub sends
STEP_S = 0.5  # how long it takes at most to notice that the end has come
LAST_ANSWERS_S = 5.0

# Windows has no SIGTERM that another process could send, but Ctrl-Break.
ENDING_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)


class CannotListen(click.ClickException):
    """The address for pages and API cannot be had."""


class WebServer:
    """Waitress in a thread of its own, which can be ended from another (its own loop cannot)."""

    def __init__(self, settings: Settings, application: WSGIApplication) -> None:
        """Open the port; requests that come before ``start`` wait.

        Raises:
            CannotListen: The address is taken, or is not this machine's.
        """
        server = settings.server
        proxy: dict[str, Any] = {}
        if server.trusted_proxy:
            headers = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}
            proxy = {"trusted_proxy": server.trusted_proxy, "trusted_proxy_headers": headers}
        self._sockets: dict[int, Any] = {}
        try:
            self._server = create_server(
                application,
                map=self._sockets,
                host=server.host,
                port=server.port,
                threads=server.threads,
                ident=None,
                max_request_body_size=_largest(settings),
                clear_untrusted_proxy_headers=True,
                **proxy,
            )
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or error
            is_taken = getattr(error, "errno", None) == errno.EADDRINUSE
            guess = " Is another program running there?" if is_taken else ""
            raise CannotListen(
                f"cannot listen on {server.host}:{server.port}: {cause}.{guess} "
                "Choose another address with --listen HOST:PORT or server.listen."
            ) from error
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    @property
    def port(self) -> int:
        """The port that is open, also when any free one was asked for."""
        listening: list[tuple[str, int]] = getattr(self._server, "effective_listen", [])
        return listening[0][1] if listening else int(self._server.effective_port)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer what was asked, then close the port."""
        self._ending.set()
        self._thread.join(STEP_S * 4)
        self._server.task_dispatcher.shutdown(timeout=LAST_ANSWERS_S)
        wasyncore.close_all(self._sockets, ignore_all=True)

    def _run(self) -> None:
        use_poll = hasattr(select, "poll")  # select() ends at 1,024 descriptors
        while not self._ending.is_set():
            wasyncore.loop(timeout=STEP_S, use_poll=use_poll, map=self._sockets, count=1)


def serve(
    settings: Settings, runtime: Runtime, *, ready: Callable[[str], None] = lambda url: None
) -> None:
    """Run until a signal ends it; the port is open before the repositories are loaded.

    Args:
        settings: What was chosen.
        runtime: The parts, made and not started.
        ready: Called once with the address of the pages, when everything runs.

    Raises:
        CannotListen: The address is taken, or not this machine's.
        RepoSentryError: The program could not begin; what had begun is ended again.
    """
    heap.share_heaps()
    ending = _ending_by_signal()
    door = Doorstep(lambda: create_app(settings, runtime), ready=runtime.ready)
    web = WebServer(settings, door)
    failures: list[BaseException] = []

    def begin() -> None:
        try:
            runtime.start()
            door.open()
            collect_rarely()
            heap.give_back()
            ready(address(settings, port=web.port))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the main thread
            failures.append(error)
            ending.set()

    web.start()
    threading.Thread(target=begin, name="start", daemon=True).start()
    while not ending.wait(STEP_S):
        pass  # in short steps: on Windows a signal is only handled between them
    runtime.stop()
    web.stop()
    if failures:
        raise failures[0]


def _largest(settings: Settings) -> int:
    """Return how large a request may be; what is too large elsewhere is refused by the API."""
    takes_hooks = any(forge.hook_secret for forge in settings.forges.values())
    return LARGEST_HOOK if takes_hooks else LARGEST_REQUEST


def collect_rarely() -> None:
    """Spare what is there for good from garbage collection, and look for garbage less often.

    A full collection takes some 30 ms, and no page could be faster: measured on a page of 100 rows,
    p99 24.9 ms with Python's defaults and 2.2 ms with these (CPython 3.11, November 2026).
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    gc.enable()


def address(settings: Settings, *, port: int) -> str:
    """Return the URL at which a person on this machine reads the pages."""
    host = settings.server.host
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - read here, not bound
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _ending_by_signal() -> threading.Event:
    ending = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ending.set()

    for number in ENDING_SIGNALS:
        signal.signal(number, end)
    return ending
