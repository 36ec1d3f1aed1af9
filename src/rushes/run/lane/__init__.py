"""One provider's column of a worker: claim, send, poll. Read `lane` first, then `attempts`, its states."""
