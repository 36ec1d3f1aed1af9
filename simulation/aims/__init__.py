"""Aims: faults that together open a window which the faults of chance alone seldom meet."""
