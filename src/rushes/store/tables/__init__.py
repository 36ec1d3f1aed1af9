"""The schema, and the triggers and constraints that guard it."""
