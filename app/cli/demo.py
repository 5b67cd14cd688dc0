"""``reposentry demo``: everything at once, on this machine alone, with something to see."""

import os
import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from app.cli.console import Console
from app.cli.demo_receiver import DemoReceiver
from app.cli.demo_repository import DemoRepository
from app.cli.options import database_option, keep_out_of_logs, listen_option
from app.cli.serving import serve
from app.runtime import Runtime
from app.settings import from_mapping
from app.telemetry import logs

PUSH_EVERY_S = 4.0


@click.command(
    epilog="Example: reposentry demo --listen 127.0.0.1:9000",
)
@listen_option
@database_option
def command(listen: str | None, database: str | None) -> None:
    """Show the program at work, without a network.

    Makes a small git repository and a receiver of webhooks, pushes to the one every few seconds
    and delivers to the other, which checks each signature. Everything is thrown away at the end.
    """
    with tempfile.TemporaryDirectory(
        prefix="reposentry-demo-", ignore_cleanup_errors=True
    ) as folder:
        _run(Path(folder), listen=listen, database=database)


def _run(folder: Path, *, listen: str | None, database: str | None) -> None:
    repository = DemoRepository(folder / "website.git", dict(os.environ))
    secret = secrets.token_hex(16)
    receiver = DemoReceiver(secret)
    url = database or f"sqlite:///{(folder / 'reposentry.db').as_posix()}"
    settings = from_mapping(
        _configuration(repository.path, receiver.url, listen=listen, database=url),
        {"DEMO_SECRET": secret},
    )
    keep_out_of_logs(settings)
    logs.configure("error", "text")
    runtime = Runtime(settings, observers=[Console()])
    receiver.start()
    with _pushing(repository):
        serve(settings, runtime, ready=_welcome)
    receiver.stop()
    click.echo(f"{receiver.verified} deliveries were received and their signatures were right.")


def _configuration(
    repository: Path, receiver: str, *, listen: str | None, database: str
) -> dict[str, Any]:
    return {
        "server": {"listen": listen or "127.0.0.1:8080"},
        "storage": {"url": database},
        "polling": {"interval": "1s"},
        "receivers": {
            "pipeline": {"url": receiver, "secret": "${DEMO_SECRET}", "retry": {"first": "2s"}}
        },
        "repositories": [
            {
                "url": str(repository),
                "name": "demo/website",
                "tags": ["*"],
                "labels": {"team": "web"},
            }
        ],
    }


def _welcome(url: str) -> None:
    click.echo(f"Pages: {url}   API: {url}api/v1/status   Stop: Ctrl-C")
    click.echo(f"A repository is pushed to every {PUSH_EVERY_S:g} s; what is noticed:")


@contextmanager
def _pushing(repository: DemoRepository) -> Iterator[None]:
    """Push now and then, from a thread, for as long as the context lasts."""
    ending = threading.Event()

    def push() -> None:
        pushes = repository.pushes()
        while not ending.wait(PUSH_EVERY_S):
            next(pushes)

    thread = threading.Thread(target=push, name="pushes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
