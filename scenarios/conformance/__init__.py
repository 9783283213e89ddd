"""Conformance battery of kinds, metrics and figures: what every plug-in has to respect.

:mod:`scenarios.conformance.check` has the entrance; every other module has the requirements of some families.
"""
