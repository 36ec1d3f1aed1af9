"""The words and rules of the trade, pure: no I/O, no clock, no randomness. Read `task` and `credits`."""
