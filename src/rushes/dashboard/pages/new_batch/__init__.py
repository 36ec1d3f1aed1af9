"""A new batch: prompts in, and what they cost before anything is spent."""
