"""The program for any WSGI server: ``waitress-serve wsgi:application``, or ``python wsgi.py``.

The configuration is the file that ``REPOSENTRY_CONFIG`` names, else ``reposentry.yaml``. Importing
this module starts polling and delivering. A server that ends without running Python's exit hooks
loses nothing; another process then takes over some seconds later.
"""

import atexit
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from app import create_app
from app.cli import main, tell
from app.cli.options import DEFAULT_FILE, load_to_serve
from app.cli.serving import collect_rarely
from app.domain.errors import RepoSentryError
from app.runtime import Runtime


def _stop_when_terminated() -> None:
    """Have SIGTERM run Python's exit hooks, where the server has not decided about it."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)


if __name__ == "__main__":
    main(["run"])

try:
    settings = load_to_serve(Path(os.environ.get("REPOSENTRY_CONFIG", DEFAULT_FILE)))
    runtime = Runtime(settings)
    application = create_app(settings, runtime)
    runtime.start()
except RepoSentryError as error:
    # Whatever imports this shows no traceback, and ends as the commands do.
    sys.exit(tell(error))
atexit.register(runtime.stop)
_stop_when_terminated()
collect_rarely()
