"""Connections to SQLite and to PostgreSQL: how each is opened, how long it may take, what its errors mean."""
