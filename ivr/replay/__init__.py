"""Replaying recordings into the server, and reports on what it decides."""
