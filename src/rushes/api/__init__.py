"""The HTTP API: routes by resource over the engine's transactions. `app.build_api` puts it together."""
