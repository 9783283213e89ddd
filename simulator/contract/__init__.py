"""What protocols may see of the world: the node, deferred computation, and what adversaries know."""
