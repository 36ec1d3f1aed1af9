"""The operator's pages, at /dashboard, and tenants' pages, at /portal: they read through `read`, and act
through the money's transactions.

A page is made on the server by a pure function of what was read (`markup`, `pieces`, `pages`). `stream` sends
what changed while it is open, and `acting` is what its forms do. What a process keeps between two requests
only saves it work, so any process behind a balancer answers any of them. Without a secret there are no pages
for operators; the portal has no acts.
"""
