"""One batch: its head and its tabs, each with an address of its own, and what can be done with it."""
