"""What an account asks about itself: its event log, its usage."""
