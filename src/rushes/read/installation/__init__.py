"""The whole installation, for operators: its numbers, its workers, what is in trouble."""
