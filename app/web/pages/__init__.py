"""The pages: plain HTML that works without JavaScript and asks nothing of other servers.

To add a page: a module here that adds its views to ``views.blueprint``, its template, one line in
``VIEWS`` below, and its place in the navigation (``templates/base.html``).
"""

from flask import Flask

from app.settings.types import Settings
from app.web.pages import deliveries, events, forges, overview, receivers, repositories, words
from app.web.pages.links import ForgeLinks
from app.web.pages.views import LINKS, blueprint

VIEWS = (overview, repositories, events, deliveries, receivers, forges)


def register(app: Flask, settings: Settings) -> None:
    """Give an application its pages."""
    app.extensions[LINKS] = ForgeLinks(settings.forges)
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(words.FILTERS)
    app.register_blueprint(blueprint)
