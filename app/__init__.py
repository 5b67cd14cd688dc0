"""RepoSentry: notices every branch and tag change in any Git repository, and never loses one.

A change walks through the packages like this::

    config        settings            what one may choose
    repository    domain              what the words mean
    scheduler     services            when to look, what to do
    branch monitor    services
    git client    forges              how a forge is asked for its refs
    snapshot diff domain
    event         domain, storage     what is known for good
    outbox        storage             what is owed
    delivery      delivery            how an event is spelled, signed and sent
    status        services, web       how everything fares

``runtime`` puts them together, ``cli`` starts it; ``simulation`` lives through it all in virtual
time.
"""

from typing import TYPE_CHECKING

# Only for the checker: `import app.domain` must stay cheap, so Flask comes in by create_app.
if TYPE_CHECKING:
    from flask import Flask

    from app.settings.types import Settings
    from app.web.wiring import Services

__version__ = "0.1.0"


def create_app(settings: "Settings", services: "Services") -> "Flask":
    """Build the web application that shows these services; it starts nothing."""
    from flask import Flask

    from app import web

    app = Flask(__name__, static_folder=None)
    web.install(app, settings, services)
    return app
