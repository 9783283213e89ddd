"""The composition root: scenario files, building, running, sweeping, what-if studies and the command line."""
