"""Clips that follow each other: the last frame that the next one starts from, and one file of them all."""
