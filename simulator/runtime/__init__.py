"""Engines that run a protocol on virtual time or on real sockets."""
