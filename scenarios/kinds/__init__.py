"""Every kind that a scenario can name, by family."""
