"""The database: the schema, its migrations, and the statements of every transaction."""
