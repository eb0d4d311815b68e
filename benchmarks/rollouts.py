"""Do the intervals of roll-outs keep their word? Simulated creators with known truth.

Run `python -m benchmarks.rollouts` (part of `make certify`). Every finished chunk of seeds is
kept in benchmarks/.state and not repeated; results go to docs/certify/rollouts.md and .json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

# One thread each: workers that each ask for all cores are six times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy import stats

from upliftlab.data.panel import NEVER, Panel
from upliftlab.data.panel_moments import PanelMoments
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.group_time import group_time
from upliftlab.panels.honest import honest_interval
from upliftlab.panels.pretrends import joint_test
from upliftlab.rollout.booked import Measure, book, with_totals
from upliftlab.rollout.doubt import event_path
from upliftlab.rollout.trust import drift
from upliftlab.simulate.creator_settings import creator_preset
from upliftlab.simulate.creator_truth import MEASURES, unit_effects
from upliftlab.simulate.dual_commission import creator_panel, draw_creators

if TYPE_CHECKING:
    from upliftlab.panels.group_time import GroupTime
    from upliftlab.simulate.dual_commission import CreatorDraw
    from upliftlab.stats.joint import Joint

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "benchmarks" / ".state" / "rollouts"
DOCS = ROOT / "docs" / "certify"
CHUNK = 50
MARGIN = 0.4751
SHOWN = {"profit": "profit", "creator": "creator_income", "gmv_creator": "gmv_creator"}

STUDIES: dict[str, dict[str, Any]] = {
    "A, 60 clusters": {"preset": "well_designed", "runs": 1000, "first": 1_000_000},
    "B, 60 clusters": {"preset": "generous", "runs": 1000, "first": 2_000_000},
    "C, 60 clusters": {"preset": "squeeze", "runs": 1000, "first": 3_000_000},
    "N, 60 clusters": {"preset": "no_change", "runs": 4000, "first": 4_000_000},
    "A, 12 clusters": {
        "preset": "well_designed",
        "clusters": 12,
        "runs": 1000,
        "first": 5_000_000,
    },
    "N, 12 clusters": {"preset": "no_change", "clusters": 12, "runs": 2000, "first": 6_000_000},
    "anticipation": {"preset": "anticipation", "ahead": 2, "runs": 1000, "first": 7_000_000},
    "opt_in": {"preset": "opt_in", "honest": True, "runs": 400, "first": 10_000_000},
    "cross_cluster_leak": {"preset": "cross_cluster_leak", "runs": 400, "first": 11_000_000},
    "mega_creator": {"preset": "mega_creator", "runs": 400, "first": 12_000_000},
    "T5, 12 clusters": {"preset": "", "clusters": 12, "runs": 4000, "first": 8_000_000},
    "T5, 60 clusters": {"preset": "", "clusters": 60, "runs": 2000, "first": 9_000_000},
}


STRESSED = ("opt_in", "cross_cluster_leak", "mega_creator")
"""Worlds that break an assumption: they are to be warned of, not covered."""


def run_one(study: dict[str, Any], seed: int) -> dict[str, float]:
    """Answer one simulated roll-out: hits of every interval, and their widths."""
    if not study["preset"]:
        return _noise_only(int(study["clusters"]), seed)
    changes = {"clusters": study["clusters"]} if "clusters" in study else {}
    drawn = draw_creators(creator_preset(study["preset"], seed=seed, **changes))
    ahead = int(study.get("ahead", 0))
    panel = with_totals(creator_panel(drawn))
    booked = book(panel, _measures(drawn))
    truth = unit_effects(drawn)[:, :, [MEASURES.index(name) for name in SHOWN.values()]]
    effects = group_time(PanelMoments.of(booked), anticipation=ahead)
    out = {}
    event = np.arange(panel.shape[1])[None, :] - panel.start[:, None]
    kinds = {"simple": event >= 0}
    if ahead:
        kinds |= {
            "anticipation": (event < 0) & (event >= -ahead),
            "everything": event >= -ahead,
        }
    for kind, cells in kinds.items():
        joint = aggregate(effects, kind).joint()  # type: ignore[arg-type]
        scale = cells.sum() if kind == "everything" else 1.0
        for k, name in enumerate(SHOWN):
            true = float(truth[:, :, k][cells].mean()) * scale
            out |= _scored(f"{kind} {name}", joint, k, true)
    out |= _band(effects, truth[:, :, 0], event)
    if study.get("honest"):
        out |= _doubted(effects, truth[:, :, 0], event)
    return out


def _measures(drawn: CreatorDraw) -> tuple[Measure, ...]:
    rates, scenario = drawn.settings.rates, drawn.settings.scenario
    found = []
    old = {
        "kept_creator_organic": rates.organic_bp / 1e4,
        "kept_creator_ads": rates.ads_bp / 1e4,
    }
    new = {
        "kept_creator_organic": scenario.organic_bp / 1e4,
        "kept_creator_ads": scenario.ads_bp / 1e4,
    }
    agency = rates.agency_bp / 1e4
    for name in SHOWN:
        sides = []
        for terms in (old, new):
            if name == "creator":
                sides.append(dict(terms))
            elif name == "gmv_creator":
                sides.append({"gmv_creator_organic": 1.0, "gmv_creator_ads": 1.0})
            else:
                price = {c: MARGIN - rate - agency for c, rate in terms.items()}
                sides.append(price | {"kept_shelf": MARGIN, "ad_spend": -1.0})
        found.append(
            Measure(name=name, label=name, is_money=True, before=sides[0], after=sides[1])
        )
    return tuple(found)


def _scored(name: str, joint: Joint, k: int, true: float) -> dict[str, float]:
    se, df, value = float(np.sqrt(joint.cov[k, k])), float(joint.df[k]), float(joint.value[k])
    reach = stats.t.ppf(0.975, df) * se
    return {
        f"{name}|hit": float(abs(value - true) <= reach),
        f"{name}|sig": float(abs(value) > reach),
        f"{name}|error": value - true,
        f"{name}|truth": true,
        f"{name}|width": 2 * reach,
    }


def _band(effects: GroupTime, truth: np.ndarray, event: np.ndarray) -> dict[str, float]:
    """Whether the band over the first eight periods holds for profit in all of them."""
    price = np.zeros((1, len(effects.moments.names)))
    price[0, 0] = 1.0
    alone = group_time(
        effects.moments.priced(price, ("profit",)), anticipation=effects.anticipation
    )
    average = aggregate(alone, "dynamic", horizons=(0, 7))
    joint = average.parts_joint()
    true = np.array([truth[event == e].mean() for e in average.keys])
    critical = joint.max_t(level=0.95)
    inside = np.abs(joint.value - true) <= critical * np.sqrt(np.diag(joint.cov))
    return {"band profit|hit": float(inside.all())}


def _doubted(effects: GroupTime, truth: np.ndarray, event: np.ndarray) -> dict[str, float]:
    """Whether the look before warns, and the honest range at m = 1 holds, for profit."""
    price = np.zeros((1, len(effects.moments.names)))
    price[0, 0] = 1.0
    alone = group_time(effects.moments.priced(price, ("profit",)))
    path = event_path(alone)
    if path is None:
        return {}
    after = path.weights @ [truth[event == e].mean() for e in range(len(path.weights))]
    found = honest_interval(path, "relative_magnitude", 1.0)
    p_value = min(1.0, 2 * min(joint_test(path).p_value, drift(alone)))
    return {
        "look before warns|hit": float(p_value < 0.05),
        "honest range, m = 1|hit": float(found.low <= after <= found.high),
    }


def _noise_only(clusters: int, seed: int) -> dict[str, float]:
    """Serially correlated clusters with levels of their own and no effect at all."""
    rng = np.random.default_rng(seed)
    e = np.zeros((clusters, 26))
    e[:, 0] = rng.normal(size=clusters)
    for t in range(1, 26):
        e[:, t] = 0.6 * e[:, t - 1] + 0.8 * rng.normal(size=clusters)
    start = np.repeat([10, 14, 18, NEVER], clusters // 4)
    panel = Panel.of_arrays(e + rng.normal(0, 2, size=(clusters, 1)), start)
    effects = group_time(panel, control="never")
    event = np.arange(26)[None, :] - start[:, None]
    out = _scored("simple profit", aggregate(effects, "simple").joint(), 0, 0.0)
    parity = aggregate(effects, "simple").joint(inference="analytic")
    out["R's errors, z|hit"] = float(abs(parity.value[0]) <= 1.96 * np.sqrt(parity.cov[0, 0]))
    return out | _band(effects, np.zeros(e.shape), event)


def _chunk(task: tuple[str, int]) -> str:
    name, first = task
    place = STATE / name.replace(" ", "_").replace(",", "") / f"{first}.json"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        rows = [run_one(STUDIES[name], seed) for seed in range(first, first + CHUNK)]
        part = place.with_suffix(".part")
        part.write_text(json.dumps(rows), encoding="utf-8")
        part.replace(place)
    return str(place)


def summarise(name: str, runs: int) -> dict[str, Any]:
    """Coverage, false positives, bias and width of one study, from its finished chunks."""
    folder = STATE / name.replace(" ", "_").replace(",", "")
    rows = [
        row
        for place in sorted(folder.glob("*.json"))
        for row in json.loads(place.read_text(encoding="utf-8"))
    ]
    found: dict[str, Any] = {"runs": len(rows), "planned": runs, "cells": {}}
    for cell in sorted({key.partition("|")[0] for key in rows[0]}) if rows else ():
        hits = int(sum(row[f"{cell}|hit"] for row in rows))
        entry = {
            "coverage": hits / len(rows),
            "p_below": float(stats.binom.cdf(hits, len(rows), 0.935)),
        }
        if f"{cell}|error" in rows[0]:
            error = np.array([row[f"{cell}|error"] for row in rows])
            entry |= {
                "significant": float(np.mean([row[f"{cell}|sig"] for row in rows])),
                "truth": float(np.mean([row[f"{cell}|truth"] for row in rows])) / 100,
                "bias": float(error.mean()) / 100,
                "bias_se": float(error.std() / np.sqrt(len(rows))) / 100,
                "width": float(np.mean([row[f"{cell}|width"] for row in rows])) / 100,
            }
        found["cells"][cell] = entry
    return found


def write(results: dict[str, Any]) -> None:
    """Write the tables under docs/certify."""
    versions = {name: metadata.version(name) for name in ("upliftlab", "numpy", "scipy")}
    lines = [
        "# Roll-outs: do the intervals keep their word?",
        "",
        "Simulated creators with known truth (60 clusters of 10, 26 weeks, three waves and a",
        "group that never switches; scenarios of the dual-commission simulator), and noise",
        "(T5). Default inference: CR2 by cohort, Bell-McCaffrey df, t-based band.",
        "A cell fails when a binomial test rejects coverage of at least 93.5 % at 0.001 (Holm",
        "over the table); worlds that break an assumption are shown, not tested.",
        "Money in yuan per creator and week, totals in yuan.",
        "",
        f"Made by `python -m benchmarks.rollouts`; Python {platform.python_version()}, "
        + ", ".join(f"{k} {v}" for k, v in versions.items())
        + ".",
        "",
        "| study | runs | number | coverage | significant | truth | bias (SE) | width |",
        "|---|--:|---|--:|--:|--:|--:|--:|",
    ]
    tests = [
        (cell["p_below"], study, name)
        for study, found in results.items()
        for name, cell in found["cells"].items()
        if study not in STRESSED and not name.startswith("R's")
    ]
    failed = set()
    for rank, (p, study, name) in enumerate(sorted(tests)):
        if p * (len(tests) - rank) >= 0.001:
            break
        failed.add((study, name))
    for study, found in results.items():
        for name, cell in found["cells"].items():
            mark = " **fails**" if (study, name) in failed else ""
            more = (
                f"{cell['significant']:.1%} | {cell['truth']:,.1f} | {cell['bias']:,.1f} "
                f"({cell['bias_se']:,.1f}) | {cell['width']:,.1f}"
                if "bias" in cell
                else "– | – | – | –"
            )
            covered = f"{cell['coverage']:.1%}{mark}"
            lines.append(f"| {study} | {found['runs']} | {name} | {covered} | {more} |")
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / "rollouts.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    payload = {"versions": versions, "studies": results}
    (DOCS / "rollouts.json").write_text(json.dumps(payload, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="part of a study's name")
    parser.add_argument("--write", action="store_true", help="only write what is finished")
    chosen = parser.parse_args()
    tasks = [
        (name, first)
        for name, study in STUDIES.items()
        if chosen.only in name
        for first in range(study["first"], study["first"] + study["runs"], CHUNK)
    ]
    # Round robin, so that every study grows while time is left.
    tasks.sort(key=lambda task: task[1] % 1_000_000)
    if not chosen.write:
        with ProcessPoolExecutor(max_workers=chosen.workers) as pool:
            for done, _ in enumerate(pool.map(_chunk, tasks), start=1):
                print(f"\r{done}/{len(tasks)} chunks", end="", flush=True)
    write({name: summarise(name, study["runs"]) for name, study in STUDIES.items()})


if __name__ == "__main__":
    main()
