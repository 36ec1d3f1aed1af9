"""What version 0.3 changes in the schema, change by change."""
