"""The database layer, on every kind of database."""
