"""Scenario files, checks, building, running, studies and the command line; the only package that uses all others."""
