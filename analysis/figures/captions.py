"""What is under a figure in a report: what it shows, in which units, and over how many seeds."""

from __future__ import annotations

from analysis.tables.estimate import ONE_SEED

_CAPTIONS = {
    "accuracy": "Test accuracy of the honest nodes that are up, against virtual time and against traffic. Worst: "
    "whichever node is worst at that time. ▼ a node goes down, ▲ it returns.",
    "victims": "Privacy loss ε at the end of every victim towards every single node (left), and by their distance in "
    "links (right: medians over pairs of nodes, bars from the least to the largest). Open-loop is not a bound for "
    "adaptive training.",
    "collusion": "Privacy loss ε against the number of nodes that pool what they saw{over}. ∞: no guarantee.",
    "epsilon": "Privacy loss ε over virtual time. Thin lines: one observer each, its worst victim; "
    "bold: the worst observer; with dots: the median over victims of each one's worst observer.",
    "network": "The network. Shape and fill: role; ring: final accuracy (grey: not evaluated).",
    "partition": "Who trains on what: samples of each class at each node, and samples of each node in all.",
    "tradeoff": "Accuracy against privacy loss ε{over}; colour: median time to the target accuracy. {bars} Filled: "
    "certified; hollow: open-loop, not a bound for adaptive training. At ∞: no guarantee.",
    "progress": "Mean accuracy of the honest nodes that are up{over}, against local updates, time and traffic. What "
    "sends nothing is a level line in the panel of traffic. {shade}",
    "breaking": "Accuracy lost to so many liars, against the same nodes telling the truth{over}. {bars} "
    "Dashed: the mark; red: the smallest number found that passes it.",
    "heat": "Accuracy in % under every attack (columns) with every defence (rows){over}. Bold: the worst "
    "attack on each defence, repeated in the last column. Runs that diverged count as chance.",
    "cost": "Traffic and duration of secure sums against what each series varies{over}. {range}",
    "paired": "Difference of each variant to the baseline with the same seed. Grey: one seed; {blue}",
}
"""By name of the figure; what is in braces depends on the number of seeds."""


def caption(name: str, seeds: str = "") -> str:
    """The words under a figure.

    Args:
        name: of the figure's file, without its ending.
        seeds: of a study's figure, over how many (:func:`analysis.tables.estimate.seeds_in_words`).
    """
    one = seeds == ONE_SEED
    return (
        _CAPTIONS[name]
        .format(
            over=f" ({ONE_SEED})" if one else f", means over {seeds}",
            bars="" if one else "Bars: 95 % t intervals over seeds; a point without a bar is of one seed.",
            range="" if one else "Bars: the range over seeds.",
            shade="" if one else "Shaded, where there are few curves: the range over seeds.",
            blue="there is one pair, and no interval."
            if one
            else "blue: their mean with its 95 % t interval.",
        )
        .replace("  ", " ")
        .strip()
    )
