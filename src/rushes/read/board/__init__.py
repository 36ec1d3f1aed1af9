"""What the operators' pages ask: everything of a page in one read, for operators only."""
