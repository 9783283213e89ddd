"""The recorder, the run folder, its summary and warnings about it."""
