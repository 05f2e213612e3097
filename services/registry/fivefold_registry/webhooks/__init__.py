"""Webhooks: what is sent, to where it may be sent, and how it is signed."""
