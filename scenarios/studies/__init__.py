"""Studies of many runs and analyses of finished runs: sweeps, what-ifs, breaking points, inference, accounting."""
