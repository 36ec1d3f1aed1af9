"""Changes of the schema, applied in order by `rushes migrate`."""
