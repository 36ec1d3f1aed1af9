"""Files that customers give, to go into videos."""
