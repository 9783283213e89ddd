"""Studies: sweeps, what-ifs, breaking points, inference and re-accounting."""
