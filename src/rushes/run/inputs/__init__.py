"""Files that go with submits: where they come from, and how they are handed on."""
