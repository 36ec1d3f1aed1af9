"""The HTTP/1.1 transport of providers: certain about what was sent."""
