"""What Alembic runs for every command, on the connection that ``app.storage.migrate`` gives it."""

from alembic import context

from app.storage.tables import metadata


def run() -> None:
    """Run the migrations, or the comparison, that the command asked for."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # SQLite cannot alter a table; Alembic rebuilds it.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


run()
