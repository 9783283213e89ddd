"""Floor 0: virtual time, network, faults and adversaries; knows no model, learning or cryptography."""
