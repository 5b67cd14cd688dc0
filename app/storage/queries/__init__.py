"""What pages and API ask the database: bounded reads, paged by key and never by offset.

One module for each thing that is asked about; ``asking``, ``rows``, ``reach`` and ``paging`` are
how all of them do it.
"""

from app.storage.queries.deliveries import DeliveryQueries
from app.storage.queries.events import EventQueries
from app.storage.queries.hooks import HookQueries
from app.storage.queries.receivers import ReceiverQueries
from app.storage.queries.repositories import RepositoryQueries


class Queries(RepositoryQueries, EventQueries, DeliveryQueries, ReceiverQueries, HookQueries):
    """Every question that pages and API ask; safe to use from many threads."""
