"""OpenSSH's own server on 127.0.0.1, with keys made for the one test run."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.git_repository import git_environment

DEADLINE_S = 10.0


def find_sshd() -> str | None:
    """Return where the server's program is, if it and the client are installed."""
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        return None
    return shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


class SshServer:
    """Lets the user that runs the tests sign in by a key, and by nothing else."""

    def __init__(self, directory: Path, program: str) -> None:
        self._directory = directory
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        for name in ("host", "user"):
            self._make_key(name)
        keys = self._directory / "authorized_keys"
        keys.write_bytes((self._directory / "user.pub").read_bytes())
        keys.chmod(0o600)
        configuration = self._directory / "sshd_config"
        configuration.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\n"
            f"HostKey {self._directory / 'host'}\n"
            f"AuthorizedKeysFile {keys}\n"
            "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nAcceptEnv GIT_PROTOCOL\nPermitRootLogin yes\n"
        )
        if getattr(os, "geteuid", lambda: 1)() == 0:
            # As root it insists on this directory, which only its own service file makes.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._process = subprocess.Popen(  # noqa: S603 - the system's own server
            [self._program, "-D", "-e", "-f", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE_S)

    def environment(self, *, key: str = "user") -> dict[str, str]:
        """Return an environment in which git signs in with our key and trusts our server."""
        command = (
            f"ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes"
            f" -o UserKnownHostsFile={self._known_hosts()}"
            f" -o IdentityAgent=none -i {self._directory / key}"
        )
        return git_environment() | {"GIT_SSH_COMMAND": command}

    @contextlib.contextmanager
    def agent(self) -> Iterator[dict[str, str]]:
        """Give an environment in which only an agent has the key."""
        # In a short path of its own: a socket's may have 107 letters.
        with tempfile.TemporaryDirectory() as folder:
            socket_file = Path(folder) / "agent"
            held = {**os.environ, "SSH_AUTH_SOCK": str(socket_file)}
            command = ["ssh-agent", "-D", "-a", str(socket_file)]
            agent = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our words
            try:
                self._until(socket_file.exists, agent)
                key = str(self._directory / "user")
                subprocess.run(["ssh-add", "-q", key], check=True, env=held)  # noqa: S603, S607 - ours
                ssh = "ssh -F none -o BatchMode=yes -o IdentityFile=none"
                ssh += f" -o UserKnownHostsFile={self._known_hosts()}"
                yield git_environment() | {
                    "GIT_SSH_COMMAND": ssh,
                    "SSH_AUTH_SOCK": str(socket_file),
                }
            finally:
                agent.terminate()
                agent.wait(DEADLINE_S)

    def configured(self, alias: str) -> dict[str, str]:
        """Return an environment whose ssh configuration knows our server as ``alias``."""
        file = self._directory / "config"
        file.write_text(
            f"Host {alias}\n  HostName 127.0.0.1\n  Port {self.port}\n  IdentitiesOnly yes\n"
            f"  IdentityAgent none\n  IdentityFile {self._directory / 'user'}\n"
            f"  UserKnownHostsFile {self._known_hosts()}\n"
        )
        return git_environment() | {"GIT_SSH_COMMAND": f"ssh -F {file} -o BatchMode=yes"}

    def _known_hosts(self) -> Path:
        known = self._directory / "known_hosts"
        host_key = (self._directory / "host.pub").read_text()
        known.write_text(f"[127.0.0.1]:{self.port} {host_key}")
        return known

    def url(self, path: Path) -> str:
        """Return the URL of a repository of this machine."""
        return f"ssh://127.0.0.1:{self.port}{path.as_posix()}"

    def _make_key(self, name: str) -> None:
        file = self._directory / name
        subprocess.run(  # noqa: S603 - a test's own words
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)],  # noqa: S607 - found
            check=True,
        )

    def _wait(self) -> None:
        assert self._process is not None
        self._until(self._answers, self._process)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _until(self, is_ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{process.args!r} did not start")
            time.sleep(0.01)
