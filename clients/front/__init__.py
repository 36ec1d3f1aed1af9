"""Programs of others as callers of the service: SDKs, webhook libraries, readers of streams, generators.

`python -m clients.front` runs each, as it comes from its registry, against a service and the simulator.
"""
