"""Checks that compare two or more tables of a scenario."""
