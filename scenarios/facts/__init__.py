"""Numbers derived from a scenario before anything is built."""
