"""What do learned rules earn on the Starbucks promotion, on customers they did not learn from?

Price 10, contact cost 0.15. Twenty seeds of folds, fixed in advance; for each the file is cut
in two halves, every rule is learned on one and valued on the other, both ways round. All rules
that were tried are listed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from upliftlab.stats.estimate import Estimate, interval
from upliftlab.targeting.baselines import baselines, treat, treated_response
from upliftlab.targeting.exports import Exported
from upliftlab.targeting.features import Encoding, fit_encoding
from upliftlab.targeting.folds import folds
from upliftlab.targeting.learners import LEARNERS, Fitted, fit
from upliftlab.targeting.lessons import Groundwork, Lesson, lesson
from upliftlab.targeting.policy_tree import fit_tree
from upliftlab.targeting.ranking import covariance
from upliftlab.targeting.rules import model_rule
from upliftlab.targeting.selection import choose
from upliftlab.targeting.stacking import stack

SEEDS = tuple(range(1, 21))
PRICE, CONTACT = 10.0, 0.15
FILE = "starbucks_promo_train.parquet"
COLUMNS = tuple(f"V{j}" for j in range(1, 8))
NUMBERS = ("V2", "V3")
ARMS = ("none", "promotion")
COMPARED = ("linear", "fast", "s", "x")
FORESTS = ("forest", "causal_forest")
OURS = "learner: fast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Customers: features, arm and purchase."""

    x: np.ndarray
    arm: np.ndarray
    bought: np.ndarray
    encoding: Encoding

    def half(self, rows: np.ndarray) -> Lesson:
        """Customers to learn from; money is what they pay less what the contact costs."""
        arm, bought = self.arm[rows], self.bought[rows]
        return lesson(
            self.x[rows],
            PRICE * bought - CONTACT * arm,
            arm,
            arms=ARMS,
            propensity=[0.5, 0.5],
            bought=bought > 0,
            names=self.encoding.names,
        )


def load() -> Data:
    """Read the file; codes of categories become one column per level."""
    root = Path(__file__).resolve().parents[2] / "shared"
    path = Path(os.environ.get("UPLIFTLAB_SHARED", root)) / "data" / "ab" / FILE
    table = pq.read_table(path)
    arm = np.asarray(table["Promotion"]).astype(int)
    columns = {
        name: np.asarray(table[name])
        if name in NUMBERS
        else np.asarray(table[name]).astype(str).astype(object)
        for name in COLUMNS
    }
    encoding = fit_encoding(columns)
    bought = np.asarray(table["purchase"]).astype(float)
    return Data(x=encoding.matrix(columns), arm=arm, bought=bought, encoding=encoding)


def rules(taught: Lesson, names: tuple[str, ...], seed: int) -> dict[str, object]:
    """Learn every rule; each says which of new customers to treat."""
    ground = Groundwork(lesson=taught, seed=seed)
    models = {name: fit(name, taught, groundwork=ground, seed=seed) for name in names}
    found: dict[str, object] = {
        f"learner: {name}": _positive(model) for name, model in models.items()
    }
    # Five folds: a learner compared on half of half the customers is half as good.
    wide = Groundwork(lesson=taught, seed=seed, count=5)
    chosen = choose(taught, wide.contrast, wide.fold, names=COMPARED, seed=seed)
    found["learner chosen"] = found[f"learner: {chosen.chosen}"]
    mixed = stack(wide.contrast, chosen.predictions)
    found["mixture of learners"] = lambda x: (
        mixed.predict({name: models[name].predict(x) for name in chosen.predictions})[:, 0] > 0
    )
    worth = np.column_stack([np.zeros(len(taught.target)), ground.contrast[:, 0]])
    for depth in (1, 2, 3):
        tree = fit_tree(taught.x, worth, depth=depth)
        found[f"tree of depth {depth}"] = lambda x, tree=tree: tree.arms_of(x) > 0
    for line in baselines(taught, 1, groundwork=ground, seed=seed):
        if line.is_constant:
            found[line.name] = lambda x, line=line: line.arms_of(x, 1.0) > 0
            continue
        found[f"{line.name}, same share"] = lambda x, line=line: (
            treat(line.rank(x)[0], 1, float((models["fast"].predict(x) > 0).mean()), seed=seed)
            > 0
        )
    pays = treated_response(ground)
    found["treated_response, where it pays"] = lambda x: pays.rank(x)[0] > 0
    return found


def value(data: Data, seed: int, names: tuple[str, ...]) -> dict[str, dict[str, object]]:
    """Value all rules of one seed on the halves that they were not learned on."""
    fold = folds(data.arm, count=2, seed=seed)
    n = len(fold)
    treated: dict[str, np.ndarray] = {}
    score = np.zeros(n)
    for held in (0, 1):
        learn, here = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        for name, rule in rules(data.half(learn), names, seed).items():
            treated.setdefault(name, np.zeros(n, dtype=bool))[here] = rule(data.x[here])
        # Scores of held-out customers by regressions on the other fold of the held-out half.
        score[here] = Groundwork(lesson=data.half(here), seed=seed).contrast[:, 0]
    gains = {name: each * score for name, each in treated.items()}
    return {
        name: {
            "value": estimate(gains[name], fold),
            "against_all": estimate(gains[name] - gains["everybody:promotion"], fold),
            "against_response": estimate(gains[name] - gains["response, same share"], fold),
            "share": float(treated[name].mean()),
            "published": published(data, treated[name]),
        }
        for name in treated
    }


def estimate(gain: np.ndarray, fold: np.ndarray) -> Estimate:
    """Mean gain per customer of the two rules, each on its own held-out half."""
    influence = np.concatenate([gain[fold == f] - gain[fold == f].mean() for f in (0, 1)])
    found, df = covariance(influence)
    return interval("net incremental revenue", float(gain.mean()), float(found[0, 0]), df=df)


def published(data: Data, treated: np.ndarray) -> float:
    """Net incremental revenue as it is published: sums over treated customers, unscaled."""
    reached, kept = treated & (data.arm == 1), treated & (data.arm == 0)
    sales = data.bought[reached].sum() - data.bought[kept].sum()
    return float(PRICE * sales - CONTACT * reached.sum())


def report(found: list[dict[str, dict[str, object]]], seconds: float) -> str:
    """Medians over seeds; the median of 95 % intervals holds 90 % at least."""
    heads = (
        "rule",
        "treated",
        "value",
        "interval",
        "lowest",
        "highest",
        "less everybody",
        "less response",
        "NIR",
    )
    said = (
        f"Starbucks promotion: {len(found)} seeds, {seconds:.0f} s. Net incremental revenue "
        "per 1,000 customers, of everybody, on customers that the rule was not learned from; "
        "medians over seeds of estimate and 95 % interval (the median interval covers "
        "at least 90 % whatever the splits; Chernozhukov et al., Generic ML). Lowest "
        "and highest are estimates over seeds. NIR is the published unscaled sum over the file."
    )
    lines = [said, "", f"| {' | '.join(heads)} |", "| --- " + "| --: " * 8 + "|"]
    order = sorted(found[0], key=lambda name: -_median(found, name, "value")[0])
    for name in order:
        mid, low, high = _median(found, name, "value")
        each = [run[name]["value"].estimate for run in found]
        lines.append(
            f"| {name} | {np.median([run[name]['share'] for run in found]):.0%} | {mid:.2f} | "
            f"{low:.2f} to {high:.2f} | {1000 * min(each):.2f} | {1000 * max(each):.2f} | "
            f"{_shown(_median(found, name, 'against_all'))} | "
            f"{_shown(_median(found, name, 'against_response'))} | "
            f"{np.median([run[name]['published'] for run in found]):.1f} |"
        )
    return "\n".join(lines)


def write_rule(data: Data, path: Path) -> None:
    """Learn the pre-declared rule on the whole file and write it."""
    model = fit("fast", data.half(np.arange(len(data.arm))), seed=SEEDS[0])
    exported = Exported(
        rule=model_rule(model.model), encoding=data.encoding, arms=ARMS, unit="ID"
    )
    path.write_text(json.dumps(exported.to_dict()), encoding="utf-8")
    share = float((exported.rule.arms_of(data.x) > 0).mean())
    same = np.mean((model.predict(data.x)[:, 0] > 0) == (exported.rule.arms_of(data.x) > 0))
    print(f"\nWrote {OURS} to {path.name}: treats {share:.1%}; agrees with it on {same:.2%}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="the first so many")
    parser.add_argument("--with-forests", action="store_true", help="econml's forests, slow")
    parser.add_argument("--rule-out", type=Path, help="write the rule of all customers as JSON")
    given = parser.parse_args()
    names = tuple(
        name
        for name, learner in LEARNERS.items()
        if learner.kind != "dose" and (given.with_forests or name not in FORESTS)
    )
    data = load()
    start = time.perf_counter()
    found = [value(data, seed, names) for seed in SEEDS[: given.seeds]]
    print(report(found, time.perf_counter() - start))
    if given.rule_out:
        write_rule(data, given.rule_out)


def _positive(model: Fitted) -> object:
    return lambda x: model.predict(x)[:, 0] > 0


def _median(
    found: list[dict[str, dict[str, object]]], name: str, what: str
) -> tuple[float, float, float]:
    each = [run[name][what] for run in found]
    parts = [[e.estimate for e in each], [e.ci_low for e in each], [e.ci_high for e in each]]
    mid, low, high = (1000 * float(np.median(part)) for part in parts)
    return mid, low, high


def _shown(amount: tuple[float, float, float]) -> str:
    mid, low, high = amount
    return "" if np.isnan(low) else f"{mid:.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
