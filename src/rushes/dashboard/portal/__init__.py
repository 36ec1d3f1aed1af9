"""Tenants' own pages at /portal: signed in with an API key, they see what their account has."""
