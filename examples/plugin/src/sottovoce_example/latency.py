"""A latency law."""

from math import log
from typing import Literal

from pydantic import Field

from scenarios.format.units import Duration
from scenarios.kinds.latencies import DelayLaw


class ShiftedExponentialLaw(DelayLaw):
    """A fixed time plus an exponential one (Lee et al. 2018, IEEE Trans. Inf. Theory 64(3))."""

    kind: Literal["shifted-exponential"] = Field(description="a smallest delay plus an exponential one")
    least: Duration = Field(ge=0, examples=["20 ms"], description='smallest delay: "20 ms"')
    mean: Duration = Field(gt=0, examples=["30 ms"], description='mean of what is added to it: "30 ms"')

    @property
    def least_s(self):
        """The smallest delay."""
        return self.least

    @property
    def median_s(self):
        """The smallest delay plus the median of the exponential law."""
        return self.least + log(2) * self.mean

    def build(self):
        """Return the quantile function."""
        import numpy as np

        return lambda u: self.least - self.mean * np.log1p(-u)
