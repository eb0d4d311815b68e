"""What do readers call an arm, a segment, a metric, a window?"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from upliftlab.components import COUNTS, MONEY
from upliftlab.lines import COST_LINES
from upliftlab.report.numbers import NBSP, count, money

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from upliftlab.experiment import Arm, Experiment
    from upliftlab.profit import LineEffect, Profit

YES = frozenset({"yes", "true", "1", "y", "t", "是"})
NO = frozenset({"no", "false", "0", "n", "f", "否"})

_KNOWN = {
    "is_new_customer": ("new customers", "existing customers"),
    "is_new": ("new customers", "existing customers"),
    "is_member": ("members", "non-members"),
}
_METRICS = {
    "conversion": "share of {units} who ordered",
    "return_rate": "return rate",
    "cancel_rate": "share of orders cancelled",
    "keep_rate": "share of orders kept",
    "basket": "shop's GMV per order",
    "new_customers": "share who became new customers",
    "members_activated": "share of members activated",
    "members_joined": "share who became members",
    "gmv_platform": "GMV on the platform's dashboard",
    "gmv_merchant": "GMV the shop books",
    "kept_sales": "sales kept after returns",
}
_LINES = {
    "returned": "returned sales",
    "cancelled": "cancelled sales",
    "coupon": "our coupon money",
    "commission": "creator commission",
}
_TIPPING = {
    "goods_at_margin": "goods and running costs",
    "commission": "the creator commission",
}
_COSTS = {line.name: line.label for line in COST_LINES}
_GMV_LINES = {
    "gmv_platform": "GMV on the platform's dashboard",
    "gmv_merchant": "GMV the shop books",
}
_PARTIES = {
    "merchant": "us, the shop",
    "platform": "the platform",
    "creator": "creators",
    "agency": "agencies",
    "customer": "customers",
    "state": "the state, in taxes",
    "carrier": "carriers",
}
_STATUS = {"measured": "yours, measured", "given": "yours, given", "assumed": "assumed"}
_ONE_OR_NONE = frozenset(
    {
        "buyers", "kept_buyers", "new_customers", "saw", "claimed", "redeemers", "came_back",
        "members_joined", "members_activated",
    }
)  # fmt: skip


def plural(unit: str) -> str:
    """Name several of a unit.

    Examples:
        >>> plural("customer"), plural("city"), plural("bus"), plural("用户")
        ('customers', 'cities', 'buses', '用户')
    """
    if not unit or not unit[-1].isascii():
        return unit
    if unit.endswith("y") and unit[-2:-1] not in "aeiou":
        return unit[:-1] + "ies"
    return unit + ("es" if unit.endswith(("s", "x", "ch", "sh")) else "s")


def arm_names(experiment: Experiment) -> dict[str, str]:
    """Name every arm: its coupon's amount where it has one, else its label; each once.

    Examples:
        >>> from upliftlab.experiment import Experiment
        >>> arms = {"none": {"share": "50%", "control": True},
        ...         "c20": {"share": "50%", "coupon": 20, "over": 99}}
        >>> arm_names(Experiment(name="a", kind="smart_coupon", arms=arms))
        {'none': 'control', 'c20': '¥20'}
    """
    short = {arm.label: _arm(arm) for arm in experiment.arms}
    by_label = {arm.label: arm for arm in experiment.arms}
    for more in (_arm_over, _arm_label):
        twice = {text for text, n in Counter(short.values()).items() if n > 1}
        short = {
            label: more(by_label[label], text) if text in twice else text
            for label, text in short.items()
        }
    return short


def audience(segment: str) -> str:
    """Say whom a segment's label means, after "to".

    Examples:
        >>> audience("everyone"), audience("is_new_customer = yes"), audience("city = Beijing")
        ('everyone', 'new customers only', 'those where city = Beijing')
    """
    if segment == "everyone":
        return segment
    words = group(segment)
    return f"{words} only" if words != segment else f"those where {segment}"


def group(segment: str) -> str:
    """Name the members of a segment: "new customers", or "city = Beijing"."""
    column, _, level = segment.partition(" = ")
    known = _KNOWN.get(column)
    if known and level.lower() in YES:
        return known[0]
    if known and level.lower() in NO:
        return known[1]
    return segment


def metric_name(metric: str, experiment: Experiment) -> str:
    """Name a metric in words."""
    words = _METRICS.get(metric, metric.replace("_", " "))
    return words.format(units=plural(experiment.unit)) if metric in _METRICS else words


def metric_kind(metric: str, experiment: Experiment) -> str:
    """Say how a metric's numbers are shown: "money", "share" or "number"."""
    found = experiment.metric(metric)
    top = found.components[0]
    if top in MONEY:
        both = found.ratio is not None and found.ratio[1] in MONEY
        return "share" if both else "money"
    if found.ratio is not None:
        return "share" if set(found.ratio) <= set(COUNTS) else "number"
    return "share" if top in _ONE_OR_NONE else "number"


def line_name(line: LineEffect, profit: Profit | None = None) -> str:
    """Name a line; a GMV always says whose it is."""
    if line.line == "sales" and profit is not None:
        for name, words in _GMV_LINES.items():
            rung = profit.rung(name)
            if rung is not None and rung.effect.estimate == line.effect.estimate:
                return words
    return _LINES.get(line.line, line.label)


def tipping_name(name: str, label: str) -> str:
    """Name what would have to change."""
    return _TIPPING.get(name) or _LINES.get(name, label)


def cost_name(name: str) -> str:
    """Name a cost line that is missing.

    Examples:
        >>> cost_name("tech_fee")
        'platform technical service fee'
    """
    return _COSTS.get(name, name.replace("_", " "))


def party_name(party: str) -> str:
    """Name who gets or pays."""
    return _PARTIES.get(party, party)


def status_name(status: str) -> str:
    """Say whether a line's price is the reader's own or assumed."""
    return _STATUS.get(status, status)


def each(experiment: Experiment) -> str:
    """Name what an average is per: a unit, or a unit and period where units switch over time.

    Examples:
        >>> from upliftlab.experiment import Experiment
        >>> arms = {"old": {"share": "50%", "control": True}, "new": {"share": "50%"}}
        >>> each(Experiment(name="a", kind="custom", arms=arms))
        'customer'
    """
    if experiment.period is None:
        return experiment.unit
    return f"{experiment.unit} and {experiment.period}"


def all_of(experiment: Experiment) -> str:
    """Name everyone that a verdict speaks of."""
    return "everyone" if experiment.period is None else f"all {plural(experiment.unit)}"


def against(experiment: Experiment) -> str:
    """Name what the treatment is compared with, as the heading of a column."""
    return "control" if experiment.period is None else "without the change"


def window_of(experiment: Experiment, days: int | None) -> str:
    """Name the window of a number of this plan."""
    if days is None and experiment.period is not None:
        return "while on" if experiment.design == "switchback" else "since the change"
    return window_name(days)


def window_name(days: int | None) -> str:
    """Name a window.

    Examples:
        >>> window_name(60).split(), window_name(1).split(), window_name(None)
        (['60', 'days'], ['1', 'day'], 'whole table')
    """
    if days is None:
        return "whole table"
    return f"{days}{NBSP}{'day' if days == 1 else 'days'}"


def title(experiment: Experiment) -> str:
    """Name the experiment with its depths."""
    words = experiment.name.replace("-", " ").replace("_", " ")
    words = words[:1].upper() + words[1:]
    names = arm_names(experiment)
    depths = [names[arm.label] for arm in experiment.treatments if arm.coupon is not None]
    if not depths:
        return words
    shown = "/".join(depths) if len(depths) <= 4 else f"{depths[0]} … {depths[-1]}"
    return f"{words} {shown}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Join words as in a sentence.

    Examples:
        >>> listed(["a", "b", "c"]), listed(["a", "b"], "or"), listed([])
        ('a, b and c', 'a or b', '')
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def counted(n: int, unit: str) -> str:
    """Print how many of a unit.

    Examples:
        >>> counted(1, "customer"), counted(1200, "customer")
        ('1 customer', '1,200 customers')
    """
    return f"{count(n)} {unit if n == 1 else plural(unit)}"


def dates(experiment: Experiment) -> str:
    """Print the days of the run; empty where the plan has none."""
    return "" if experiment.run is None else span(experiment.run)


class Span(Protocol):
    """Anything with a first and a last day."""

    @property
    def start(self) -> date:
        """First day."""

    @property
    def end(self) -> date:
        """Last day."""


def span(run: Span) -> str:
    """Print the first and the last day."""
    first, last = run.start, run.end
    tail = f"{last.day} {last:%b} {last.year}"
    if first == last:
        return tail
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{tail}"
    head = f"{first.day} {first:%b}" + (f" {first.year}" if first.year != last.year else "")
    return f"{head} – {tail}"


def _arm(arm: Arm) -> str:
    if arm.coupon is not None:
        return money(float(arm.coupon.minor), arm.coupon.currency, signed=False)
    return "control" if arm.control else arm.label


def _arm_over(arm: Arm, text: str) -> str:
    if arm.over is None:
        return text
    return f"{text} over {money(float(arm.over.minor), arm.over.currency, signed=False)}"


def _arm_label(arm: Arm, text: str) -> str:
    return f"{text} ({arm.label})" if text != arm.label else text
