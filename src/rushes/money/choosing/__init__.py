"""Which model a clip is bought from where its item leaves that open, and what that reserves."""
