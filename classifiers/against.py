"""Two classifiers on the same stamps: what each has right, and by how much one is better, told in pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from classifiers.metrics import bootstrapped, measures_of

if TYPE_CHECKING:
    from classifiers.evaluate import Judged
    from classifiers.metrics import Ints

COMPARED = ("accuracy", "balanced_accuracy", "macro_f1")
SIDES = ("one", "other", "difference")


def compared(one: Judged, other: Judged) -> dict[str, Any]:
    """
    Hold a classifier against another.

    Parameters
    ----------
    one, other : Judged
        What each says of the same stamps, in the same order; of the same classes, in any order.

    Returns
    -------
    dict
        ``n``; by measure of `COMPARED` the ``one``, the ``other`` and the ``difference``, one less the other, each with
        ``value``, ``low``, ``high`` and ``n``: 68 % intervals of the same draws of groups for both, so that what is
        hard for either does not widen that of the difference; ``only_one``, ``only_other``: how many stamps only one
        of them has right.

    Raises
    ------
    ValueError
        If they are not of the same stamps or classes.
    """
    if one.stamps.names.tolist() != other.stamps.names.tolist() or set(one.classes) != set(other.classes):
        raise ValueError("two classifiers are compared on the same stamps and classes")
    true, given = one.true, one.given
    theirs = np.array([one.classes.index(name) for name in other.classes])[other.given]

    def measured(chosen: Ints) -> dict[str, float]:
        ours, others = (measures_of(true[chosen], said[chosen], len(one.classes), None) for said in (given, theirs))
        sides = {name: (ours[name], others[name], ours[name] - others[name]) for name in COMPARED}
        return {f"{name} {side}": value for name in COMPARED for side, value in zip(SIDES, sides[name], strict=True)}

    found = bootstrapped(measured, len(one), one.stamps.groups)
    return {
        "n": len(one),
        **{name: {side: found[f"{name} {side}"] for side in SIDES} for name in COMPARED},
        "only_one": int((one.right & ~other.right).sum()),
        "only_other": int((other.right & ~one.right).sum()),
    }
