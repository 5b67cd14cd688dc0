"""What the words mean: repository, ref, snapshot, change, event, delivery.

The standard library only, no I/O, no clock, no chance: everything here is a value, a pure function
of values, or a small state that is told the time (``breaker``, ``pacing``). It imports nothing else
of this program.
"""
