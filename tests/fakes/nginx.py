"""nginx with git's own http-backend behind it, as many run it: Basic sign-in, and pushing too."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from tests.fakes.git_repository import git_environment

DEADLINE_S = 10.0
SYSTEM = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"

CONFIGURATION = """\
{user}
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  fastcgi_temp_path {folder}/fastcgi;
  proxy_temp_path {folder}/proxy;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0;
    auth_basic "git";
    auth_basic_user_file {folder}/passwords;
    location / {{
      fastcgi_pass unix:{folder}/socket;
      fastcgi_param SCRIPT_FILENAME {backend};
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param GIT_PROJECT_ROOT {root};
      fastcgi_param PATH_INFO $uri;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param REMOTE_USER $remote_user;
      fastcgi_param GIT_PROTOCOL $http_git_protocol;
    }}
  }}
}}
"""


def find_nginx() -> tuple[str, str] | None:
    """Return where nginx and fcgiwrap are, if both are installed."""
    found = [shutil.which(name, path=SYSTEM) for name in ("nginx", "fcgiwrap")]
    return (found[0], found[1]) if found[0] and found[1] else None


class Nginx:
    """Serves the bare repositories under ``root`` to who knows the password."""

    def __init__(
        self, root: Path, programs: tuple[str, str], *, username: str, password: str
    ) -> None:
        self._root = root
        self._nginx, self._fcgiwrap = programs
        self._sign_in = f"{username}:{{PLAIN}}{password}\n"
        self._stack = contextlib.ExitStack()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    def url(self, name: str) -> str:
        """Return the URL of the repository in the directory ``name``, without credentials."""
        return f"http://127.0.0.1:{self.port}/{quote(name)}"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            # In a short path of its own: a socket's may have 107 letters.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (folder / "passwords").write_text(self._sign_in)
            (folder / "nginx.conf").write_text(self._configuration(folder))
            self._start(stack, [self._fcgiwrap, "-c", "2", "-s", f"unix:{folder / 'socket'}"])
            configuration = ["-p", str(folder), "-c", str(folder / "nginx.conf")]
            self._start(stack, [self._nginx, *configuration])
            self._wait(folder)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _configuration(self, folder: Path) -> str:
        exec_path = subprocess.run(
            ["git", "--exec-path"],  # noqa: S607 - the git that the tests' user has
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        return CONFIGURATION.format(
            # Its workers would be another user, who may not read what the tests make.
            user="user root;" if getattr(os, "geteuid", lambda: 1)() == 0 else "",
            folder=folder,
            port=self.port,
            root=self._root,
            backend=f"{exec_path}/git-http-backend",
        )

    def _start(self, stack: contextlib.ExitStack, command: list[str]) -> None:
        process = subprocess.Popen(  # noqa: S603 - the system's own servers
            command,
            env=git_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(process.wait, DEADLINE_S)
        stack.callback(process.terminate)

    def _wait(self, folder: Path) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                if (folder / "socket").exists():
                    return
            time.sleep(0.02)
        log = folder / "error.log"
        raise RuntimeError(log.read_text() if log.exists() else "nginx does not answer")
