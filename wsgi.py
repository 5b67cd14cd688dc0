"""The program for any WSGI server: ``waitress-serve wsgi:application``, or ``python wsgi.py``.

The configuration is the file that ``REPOSENTRY_CONFIG`` names, else ``reposentry.yaml``. Importing
this module starts polling and delivering. A server that ends without running Python's exit hooks
loses nothing; another process then takes over some seconds later.
"""

import atexit
import os
from pathlib import Path

from app import create_app
from app.cli.options import DEFAULT_FILE, load_settings
from app.cli.serving import collect_rarely, serve
from app.runtime import Runtime
from app.telemetry import logs

settings = load_settings(Path(os.environ.get("REPOSENTRY_CONFIG", DEFAULT_FILE)))
logs.configure(settings.logging.level, settings.logging.format, settings.logging.file)
runtime = Runtime(settings)

if __name__ == "__main__":
    serve(settings, runtime)
else:
    application = create_app(settings, runtime)
    runtime.start()
    collect_rarely()
    atexit.register(runtime.stop)
