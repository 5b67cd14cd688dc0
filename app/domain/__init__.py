"""What the words mean: repository, ref, snapshot, change, event, delivery.

The standard library only, no I/O, no clock, no chance: everything here is a value or a pure
function of values. It imports nothing else of this program.
"""
