"""What nodes learn: data and its partition, models as pure functions, local updates, where they are executed.

Nothing is imported here, so that reading ``data`` or ``partition`` does not load JAX; import the module you
need.
"""
