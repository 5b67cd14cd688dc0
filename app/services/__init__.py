"""What the program does: finds changes, owes them, delivers them, and tells how it fares.

A service gets everything it needs through its constructor (clock, chance, database, senders), so
that a test can hand it fakes; only ``app.runtime`` makes the real ones. Services import what stands
below them (``forges``, ``delivery``, ``storage``, ``settings``, ``domain``).
"""
