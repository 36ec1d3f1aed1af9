"""One file for each change of the schema, a folder for each release; never edited after it."""
