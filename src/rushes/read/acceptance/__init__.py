"""What clips came to: verdicts and their reasons, and what an accepted clip has cost."""
