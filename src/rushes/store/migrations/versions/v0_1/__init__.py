"""The schema as version 0.1 made it, change by change. Never edited again."""
