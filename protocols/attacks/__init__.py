"""Attacks of Byzantine nodes, as pure functions on vectors."""
