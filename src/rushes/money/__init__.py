"""Credits: accept, settle, cancel, retry: each one transaction, no I/O. The audit and statements."""
