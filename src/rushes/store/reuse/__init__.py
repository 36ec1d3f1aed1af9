"""Which items take another's file: what the rows of tasks need to know of it."""
