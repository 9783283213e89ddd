"""The conformance battery for implementations of the node contract."""
