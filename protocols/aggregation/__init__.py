"""Secure sums: a node learns the sum of its members' vectors without learning the terms."""
