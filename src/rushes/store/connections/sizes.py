"""What a database takes on its disk."""

from sqlalchemy import Connection, text

from rushes.store.connections.dialects import by_dialect


def database_bytes(connection: Connection) -> int:
    """What the database takes on its disk, indices included."""
    size: int | None = connection.scalar(
        text(
            by_dialect(
                connection,
                sqlite="SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
                postgresql="SELECT pg_database_size(current_database())",
            )
        )
    )
    return size or 0
