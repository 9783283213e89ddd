"""Adversaries: coalitions, wiretaps, tampering with messages and placement in the graph."""
