"""What did each of several changes do, and what do two of them do together?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel import NEVER, Panel
from upliftlab.data.panel_moments import PanelMoments
from upliftlab.errors import DesignError, nearest
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.forms import Forms
from upliftlab.panels.group_time import group_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.panels.aggregates import Kind
    from upliftlab.panels.forms import Inference
    from upliftlab.panels.group_time import Control
    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeveralChanges:
    """Average effects of several changes against the same untreated units.

    Attributes:
        arms: Labels of the changes, A in all.
        forms: One functional per change, on the cohorts of all.
        moments: Of all units; a cohort is a change and a start.
    """

    arms: tuple[str, ...]
    forms: Forms
    moments: PanelMoments

    def joint(self, *, inference: Inference = "small_sample") -> Joint:
        """Effects of all changes and components with one covariance: controls are shared."""
        return self.forms.joint(self.moments, inference=inference)

    def interaction(
        self, both: str, one: str, other: str, *, inference: Inference = "small_sample"
    ) -> Joint:
        """Return what two changes do together beyond the sum of what each does alone.

        Effect of ``both`` less the effects of ``one`` and ``other``, for every component.
        """
        for label in (both, one, other):
            if label not in self.arms:
                hint = nearest(label, self.arms)
                raise DesignError(
                    f"interaction asks for {label!r}; the changes are {list(self.arms)}.{hint}"
                )
        row = np.zeros((1, len(self.arms)))
        for label, sign in ((both, 1.0), (one, -1.0), (other, -1.0)):
            row[0, self.arms.index(label)] = sign
        return self.forms.linear(row, ["interaction"]).joint(self.moments, inference=inference)


def several_changes(
    panel: Panel,
    arm: Sequence[str] | None = None,
    *,
    kind: Kind = "simple",
    control: Control = "never",
    anticipation: int = 0,
) -> SeveralChanges:
    """Estimate several changes that units got once each, such as a 2x2 of two rates.

    Every change is compared with units that never get any (and, with control "not_yet", with
    those that get the same one later), so that one change is never the control of another.

    Args:
        panel: Balanced; ``start`` is the start of whichever change the unit got.
        arm: Change of each unit, shape [N]; of never-treated units it does not matter. Those
            of the panel where not given.
        kind: Which average, as in ``aggregate``.
        control: Whether units that get the same change later serve as controls too.
        anticipation: Periods before the start that are neither before nor after.

    Raises:
        DesignError: When there are no never-treated units.

    References:
        Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2), with never-treated
        controls, change by change; de Chaisemartin and D'Haultfoeuille (2023), *Journal of
        Econometrics* 236(2), on several treatments in one regression.

    Examples:
        >>> y = np.zeros((8, 2))
        >>> y[:6, 1] = [1.0, 1, 2, 2, 5, 5]
        >>> arms = ["organic", "organic", "ads", "ads", "both", "both", "", ""]
        >>> found = several_changes(Panel.of_arrays(y, [1] * 6 + [NEVER] * 2), arms)
        >>> found.joint().value.tolist(), found.interaction("both", "organic", "ads").value
        ([2.0, 5.0, 1.0], array([2.]))
    """
    given = panel.arm if arm is None else arm
    if given is None:
        raise DesignError(
            "several changes need the change of each unit; give arm, or a panel that has it."
        )
    labels = np.asarray(given, dtype=object)
    treated = panel.start != NEVER
    if treated.all():
        raise DesignError(
            "several changes need units that never get any as their common control; "
            "there are none."
        )
    names = tuple(sorted({str(each) for each in labels[treated]}))
    keys, cohort = _cohorts(panel, labels, names)
    moments = _moments(panel, cohort, keys)
    parts = [
        _part(
            moments,
            [s for s, key in enumerate(keys) if key[0] in {name, ""}],
            kind,
            control,
            anticipation,
        )
        for name in names
    ]
    forms = Forms(
        names=names,
        slope=np.concatenate([part.slope for part in parts]),
        share=np.concatenate([part.share for part in parts]),
        known=np.concatenate([part.known for part in parts]),
    )
    return SeveralChanges(arms=names, forms=forms, moments=moments)


def _cohorts(
    panel: Panel, labels: NDArray[np.object_], names: tuple[str, ...]
) -> tuple[list[tuple[str, int]], NDArray[np.int64]]:
    """Number (change, start) pairs; never-treated units are one cohort without a change."""
    treated = panel.start != NEVER
    pairs = [
        (str(label), int(start)) if is_treated else ("", NEVER)
        for label, start, is_treated in zip(labels, panel.start, treated, strict=True)
    ]
    order = {name: i for i, name in enumerate((*names, ""))}
    keys = sorted(set(pairs), key=lambda key: (key[1], order[key[0]]))
    place = {key: s for s, key in enumerate(keys)}
    return keys, np.array([place[pair] for pair in pairs], dtype=np.int64)


def _moments(
    panel: Panel, cohort: NDArray[np.int64], keys: list[tuple[str, int]]
) -> PanelMoments:
    """Take moments by (change, start): starts are numbered apart, then named again."""
    apart = PanelMoments.of(replace(panel, start=cohort))
    return replace(apart, start=np.array([start for _, start in keys], dtype=np.int64))


def _part(
    moments: PanelMoments, at: list[int], kind: Kind, control: Control, anticipation: int
) -> Forms:
    """The average of one change, as a functional on the cohorts of all."""
    rows = moments.rows
    if rows is not None:
        keep = np.isin(rows.cohort, at)
        rows = replace(
            rows,
            cluster=rows.cluster[keep],
            cohort=np.searchsorted(at, rows.cohort[keep]),
            size=rows.size[keep],
            total=rows.total[keep],
        )
    own = replace(
        moments,
        start=moments.start[at],
        units=moments.units[at],
        weight=moments.weight[at],
        mean=moments.mean[at],
        scatter=None if moments.scatter is None else moments.scatter[at],
        rows=rows,
    )
    overall = aggregate(
        group_time(own, control=control, anticipation=anticipation), kind
    ).overall
    slope = np.zeros((1, len(moments.start), len(moments.periods)))
    share = np.zeros((1, len(moments.start), len(moments.names)))
    slope[:, at], share[:, at] = overall.slope, overall.share
    return Forms(names=overall.names, slope=slope, share=share, known=overall.known)
