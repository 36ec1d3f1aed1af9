"""`rushes batch`: list, show, retry, cancel and adopt, and what leaves: files and exports."""
