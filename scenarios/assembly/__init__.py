"""Building the parts of a run from a scenario."""
