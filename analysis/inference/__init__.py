"""Attacks of curious observers on what they recorded: pure functions of views and of public facts."""
