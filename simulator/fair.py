"""Fair sharing of bandwidth; not there yet."""


class FairUplinks:
    """Not there yet."""


class FairNetwork:
    """Not there yet."""
