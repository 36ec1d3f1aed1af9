"""The operator's pages, at /dashboard: they read through `engine`, and act through its transactions.

Pages are HTML made by pure functions (`markup`, `pieces`); `live` keeps it up to date in the browser over
NiceGUI's connection. Nothing here is imported unless the extra `dashboard` is installed and a secret is set.
"""
