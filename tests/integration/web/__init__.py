"""Questions to the database, and pages and API over it."""
