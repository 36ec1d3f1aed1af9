"""The reference pages of the documentation site, made from the code: `python -m reference`.

Each page module has one function that returns the page as Markdown. What the code names but does not explain
raises `Undocumented`, so a new command, route, setting, metric, event or error cannot go unexplained.
"""
