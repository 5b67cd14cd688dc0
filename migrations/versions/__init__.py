"""One file for each version; the newest one's number is ``app.storage.migrate.HEAD``."""
