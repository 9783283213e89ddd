"""Metrics: what runs say about themselves, declared here and by plug-ins."""
