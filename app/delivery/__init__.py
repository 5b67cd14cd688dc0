"""How events leave for their receivers: spelled, signed, sent.

It imports ``transport``, ``settings`` and ``domain``, and knows nothing of queues or databases:
what is owed, when to try again and what an answer means are decided elsewhere.
"""
