"""The database: what was seen, what is owed, and who may write it.

``database`` opens it and is the only way to its connections; ``store`` keeps repositories and
their snapshots, ``outbox`` what receivers are owed (read by ``lanes``, changed by ``sending``,
``bulk`` and ``receivers``), ``holds`` the storms, ``lease`` who may write, ``queries`` what pages
and API read, ``migrate`` the tables' versions. Rows never leave this package, the frozen
values of ``records`` do. It imports ``settings``, ``telemetry`` and ``domain`` at most.

To add a table or a column: ``tables``, and one file in ``migrations/versions``; a test compares
the two on every database.
"""
