"""Robust aggregation with a bounded effect of a few wrong inputs: pure functions of stacked vectors."""
