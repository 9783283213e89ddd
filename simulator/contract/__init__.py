"""Interfaces that protocols see: the node, deferred computation, and the knowledge of an adversary."""
