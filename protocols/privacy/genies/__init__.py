"""Enlarged views, each of which certifies a loss on its own: one module a genie.

A *genie* hands the observers more than they saw. Their real view is a function of the enlarged one, so its loss
bounds theirs. The enlarged view is chosen so that its loss can be computed although every node reacts to what it
receives.
"""
