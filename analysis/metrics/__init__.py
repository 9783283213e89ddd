"""Metrics: measurements of runs, declared here and by plug-ins."""
