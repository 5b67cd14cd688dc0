"""The command line: what each command is called, and what its end means to a shell.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 130 interrupted, 143 terminated. A command's
module is imported when the command is used, so that ``--help`` and completion answer at once.

To add one: a module here with a click command named ``command``, one line in ``COMMANDS``.
"""

import difflib
import errno
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

import click

from app import __version__
from app.domain.errors import ConfigurationInvalid, RepoSentryError

COMMANDS: Final = {
    "run": "Poll, deliver and serve the pages, all in one process.",
    "watch": "Watch repositories without a configuration file.",
    "demo": "Show what it does, on a repository of its own, without a network.",
    "doctor": "Ask forges, receivers and database for what a run would need.",
    "poll": "Poll one repository now.",
    "events": "List what has changed.",
    "deliver": "Send deliveries again, or cancel them.",
    "storm": "Release or dismiss changes that came too many at once.",
    "simulate": "Watch a fleet in virtual time, and try to break what is promised.",
    "config": "Check, show and describe the configuration.",
    "db": "Upgrade and check the database.",
}

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it
TERMINATED: Final = 143  # 128 + SIGTERM

# What the system says when the reader of a pipe has gone; Windows says EINVAL.
_READER_GONE: Final = (errno.EPIPE, errno.EINVAL)


class Terminated(BaseException):
    """Somebody asked for the end; what has begun is tidied up first, as after Ctrl-C.

    Not a KeyboardInterrupt, of which click would make the end of a prompt.
    """


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of their importance."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"app.cli.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"app.cli.{cmd_name}.command is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for, or say which was probably meant."""
        meant = difflib.get_close_matches(args[0], COMMANDS, n=1)
        if args[0] not in COMMANDS and meant:
            ctx.fail(f"No such command '{args[0]}'; did you mean {meant[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: reposentry watch https://github.com/tektoncd/pipeline",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
@click.version_option(__version__, prog_name="reposentry", message="%(prog)s %(version)s")
def commands(debug: bool) -> None:
    """Notice every branch and tag change in any Git repository, and lose none."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process; ``arguments`` are the process's own unless given."""
    # Nothing that is imported is garbage; looking for some takes a tenth of the start-up. What runs
    # for longer than a moment turns it on again (serving.py).
    gc.disable()
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        _never_fail_to_encode(stream)
    with _tidied_up_when_terminated():
        code = _end(given)
    sys.exit(code)


@contextmanager
def _tidied_up_when_terminated() -> Iterator[None]:
    """Have SIGTERM end a command as Ctrl-C does; otherwise it leaves temporary files and leases.

    What runs for longer handles both itself, from the moment when it can end in order.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(arguments: list[str]) -> int:
    """Run a command and return the exit code, whatever happens in it."""
    wanted = _without_debug(arguments)
    try:
        code = _call(wanted)
        sys.stdout.flush()
    except Terminated:
        return TERMINATED
    except OSError as error:
        if error.errno not in _READER_GONE:
            return _tell_unexpected(error, is_debug=wanted != arguments)
        _discard_output()
        return FAILED
    except Exception as error:  # noqa: BLE001 - here every error becomes a line and an exit code
        return _tell_unexpected(error, is_debug=wanted != arguments)
    return code


def _call(arguments: list[str]) -> int:
    try:
        code = commands.main(arguments, prog_name="reposentry", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SystemExit as error:  # click ends so when the reader of its output has gone
        return error.code if isinstance(error.code, int) else FAILED
    except RepoSentryError as error:
        return tell(error)
    return code if isinstance(code, int) else DONE


def tell(error: RepoSentryError) -> int:
    """Print what an error says, and return the exit code that it means."""
    if not isinstance(error, ConfigurationInvalid):
        click.echo(f"reposentry: {error}", err=True)
        return FAILED
    for mistake in error.mistakes:
        click.echo(str(mistake), err=True)
    return USAGE


def _without_debug(arguments: list[str]) -> list[str]:
    """Take ``--debug`` out wherever it stands, since it is added when something has failed."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [word for n, word in enumerate(arguments) if n >= end or word != "--debug"]


def _tell_unexpected(error: Exception, *, is_debug: bool) -> int:
    if is_debug:
        traceback.print_exception(error)
    else:
        summary = f"{type(error).__name__}: {error}".splitlines()[0]
        remedy = "run again with --debug for the traceback"
        click.echo(f"reposentry: unexpected {summary}; {remedy}", err=True)
    return FAILED


def _never_fail_to_encode(stream: object) -> None:
    """Have characters that a console lacks written as escapes (Windows: cp1252)."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Let what is still buffered go nowhere, or Python complains of it at its end."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):  # it is no real file, or closed already
        return
