"""Floor 0: the world. Virtual time, network, faults, taps; knows no model, learning or cryptography."""
