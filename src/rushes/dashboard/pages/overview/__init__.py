"""The first page: is all well, what is being done, and what needs somebody."""
