"""The reference configuration, ``default.yaml``, where it was put: in the checkout or installed."""

import os
import sysconfig
from pathlib import Path

from app.domain.errors import NotFound


def reference_text() -> str:
    """Return the file that lists every setting with its default, unit and reason.

    Raises:
        NotFound: It is neither beside the program nor where an installation puts it.
    """
    shared = [sysconfig.get_path("data"), sysconfig.get_path("data", f"{os.name}_user")]
    places = [
        Path(__file__).parents[2] / "config" / "default.yaml",
        *(Path(folder) / "share" / "reposentry" / "default.yaml" for folder in shared),
    ]
    for place in places:
        if place.is_file():
            return place.read_text("utf-8")
    raise NotFound(f"the reference configuration is not at {places[1]}; install the program anew")
