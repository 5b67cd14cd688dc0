"""What one may choose: a YAML file becomes one frozen ``Settings``, or a list of its mistakes.

The way of a file: ``document`` reads YAML and remembers where each value was written, ``expand``
fills in the environment, ``schema`` (made of ``fields`` and ``files``, which use ``units``) says
what is allowed, ``checks`` says what must fit together, ``not_yet`` what has no effect in this
version, ``resolve`` makes the values of ``types``. ``load`` walks them in this order. ``show``
writes settings back in the file's own words, and ``json_schema`` describes the file to editors.

To add a setting: a field in ``types`` with its default, a field in ``schema``, a line in
``config/default.yaml``; a test misses what was forgotten.

It imports ``app.domain``, marshmallow and PyYAML, and nothing else; the environment is handed in.
"""

from app.settings.load import from_mapping, load
from app.settings.types import (
    AlertChannel,
    Alerts,
    Defaults,
    Discovery,
    Forge,
    ForgeApp,
    Logging,
    Objective,
    Polling,
    Receiver,
    Security,
    Server,
    Settings,
    Storage,
)

__all__ = [
    "AlertChannel",
    "Alerts",
    "Defaults",
    "Discovery",
    "Forge",
    "ForgeApp",
    "Logging",
    "Objective",
    "Polling",
    "Receiver",
    "Security",
    "Server",
    "Settings",
    "Storage",
    "from_mapping",
    "load",
]
