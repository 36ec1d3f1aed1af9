"""Chains: items that start from the last frame of another."""
