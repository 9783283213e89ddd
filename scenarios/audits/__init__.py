"""Audits: empirical lower bounds on the privacy loss, and twin runs."""
