"""What the program says of itself while it runs: ``logs``.

It imports ``app.domain`` and nothing else; what it needs is passed in.
"""
