"""Webhook endpoints that accounts manage, and the event log that feeds them."""
