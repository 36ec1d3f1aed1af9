"""What leaves the database, and how: folds of finished batches, erasure, backups."""
