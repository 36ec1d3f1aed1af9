"""Signed statements of batches, and how anybody verifies them."""
