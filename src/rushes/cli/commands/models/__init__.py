"""`rushes models`: what can be bought, which to take next, and what was measured and earned."""
