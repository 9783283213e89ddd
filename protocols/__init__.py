"""Floor 1: what nodes say and compute: learning, sharing, privacy, aggregation, attacks."""
