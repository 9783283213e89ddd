"""Encoding of real vectors as ring or field elements, sharing of these, and decoding."""
