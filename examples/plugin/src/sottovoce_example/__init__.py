"""Four kinds for sottovoce, each in a module of its own."""
