"""A fleet in virtual time: the real parts, in a world that fails as the real one does.

Forges and receivers are modelled, and so are people, the clock and the end of a process; polling,
deciding, storing and sending are the program's own. From one number follows one history, the same
on every machine, and each is held to the five promises that README makes.
"""
