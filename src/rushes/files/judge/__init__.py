"""The operator's judge of clips, an HTTP endpoint or a command, asked within bounds."""
