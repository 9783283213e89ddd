"""Gossip learning protocols, one file each, written against the node contract alone."""
