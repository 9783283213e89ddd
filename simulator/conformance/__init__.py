"""Conformance battery for implementations of the node contract."""
