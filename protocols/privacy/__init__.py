"""Privacy accounting: from the record of releases to the privacy loss of every node.

:mod:`~protocols.privacy.lineage` records every release while a run happens,
:mod:`~protocols.privacy.linear_view` turns that record into rows of a linear map,
:mod:`~protocols.privacy.ledger` computes the loss of every victim towards every set of observers,
:mod:`~protocols.privacy.accounting` converts losses to (ε, δ) and back, and
:mod:`~protocols.privacy.mechanism` holds one Gaussian release and the noise a member of a secure sum adds.
"""
