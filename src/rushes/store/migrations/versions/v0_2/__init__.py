"""What version 0.2 changes in the schema, change by change."""
