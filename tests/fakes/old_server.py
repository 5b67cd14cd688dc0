"""dulwich's git server, which speaks version 0 alone and answers 500 to all else."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from dulwich.repo import Repo
from dulwich.server import BackendRepo, DictBackend
from dulwich.web import make_wsgi_chain


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
        """Keep the terminal for the tests' own words."""

    def log_exception(self, *_: object) -> None:
        """Say nothing of its own failures; the client has its answer."""


class _Server(WSGIServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that went away."""


class OldServer:
    """Serves one bare repository under any ``name``, to anyone."""

    def __init__(self, repository: Path, name: str, *, port: int = 0) -> None:
        self._repository = Repo(str(repository))
        served: dict[str, BackendRepo] = {f"/{name}": self._repository}
        application = make_wsgi_chain(DictBackend(served))
        self._server = make_server(
            "127.0.0.1", port, application, server_class=_Server, handler_class=_Quiet
        )
        self._thread = threading.Thread(target=self._serve, name="dulwich", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/{name}"

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._repository.close()
