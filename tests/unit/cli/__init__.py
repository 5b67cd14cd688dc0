"""The command line without a runtime behind it."""
