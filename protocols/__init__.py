"""What nodes say and compute: learning, sharing, privacy, aggregation, attacks."""
