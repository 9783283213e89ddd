"""Learning tasks: data and its partition, models as pure functions, local updates, and their execution.

Nothing is imported here, so that reading ``data`` or ``partition`` does not load JAX; import the module you
need.
"""
