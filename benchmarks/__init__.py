"""What this program costs and how quick it is, against the budgets it is held to.

``python -m benchmarks list`` names them, ``python -m benchmarks NAME`` (or ``all``) runs them from
a checkout. Each prints its rows: what, the budget, what was measured, and how busy the machine
was; the exit code is 1 where a budget is missed by more than noise.

To add one: a module here with ``measure() -> Iterator[Row]``, and one line in ``BENCHMARKS`` of
``__main__``.
"""
