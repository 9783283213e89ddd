"""Virtual time, network, faults and adversaries; knows no model, learning or cryptography."""
