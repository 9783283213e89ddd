"""Aggregation that a few wrong inputs cannot move far: pure functions of stacked vectors."""
