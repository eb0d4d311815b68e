"""Real experiments replayed look by look: how many would peeking have stopped?

Run `python -m benchmarks.looks_asos FOLDER` with the folder that holds asos_experiments.parquet
(Liu, Cardoso, Couturier and McCoy, 2021, NeurIPS Datasets and Benchmarks). Results and the
figure go to docs/benchmarks/; the data stay where they are.
"""

from __future__ import annotations

import argparse
import json
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.stats.confidence_sequence import multiplier

if TYPE_CHECKING:
    import pandas as pd

DOCS = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
TUNED_AT = 5_000
FIRST = 250
KEYS = ["experiment_id", "variant_id", "metric_id"]


def statistics(table: pd.DataFrame) -> pd.DataFrame:
    """z, units and always-valid bound of every snapshot."""
    out = table.sort_values([*KEYS, "time_since_start"]).copy()
    variance = out["variance_t"] / out["count_t"] + out["variance_c"] / out["count_c"]
    with np.errstate(invalid="ignore", divide="ignore"):
        out["z"] = (out["mean_t"] - out["mean_c"]) / np.sqrt(variance)
    total = out["count_t"] + out["count_c"]
    out["bound"] = multiplier(total.to_numpy(dtype=float), tuned_at=TUNED_AT)
    out["permitted"] = np.minimum(out["count_t"], out["count_c"]) >= FIRST
    return out[np.isfinite(out["z"])]


def shares(table: pd.DataFrame) -> dict[str, Any]:
    """Share of series that ever cross, and that lie outside at the last look."""
    found = statistics(table)
    found["fixed"] = found["z"].abs() > 1.959963985
    found["valid"] = (found["z"].abs() > found["bound"]) & found["permitted"]
    series = found.groupby(KEYS)
    ever = series[["fixed", "valid"]].any()
    last = series[["fixed", "valid"]].last()
    day = series.cumcount() / (series["z"].transform("size") - 1).clip(lower=1)
    found["decile"] = np.minimum((day * 10).astype(int), 10)
    so_far = found.groupby(KEYS)[["fixed", "valid"]].cummax()
    found[["fixed_so_far", "valid_so_far"]] = so_far
    curve = found.groupby("decile")[["fixed_so_far", "valid_so_far"]].mean()
    returned = ever["fixed"] & ~last["fixed"]
    return {
        "series": len(ever),
        "looks": len(found),
        "ever_fixed": float(ever["fixed"].mean()),
        "last_fixed": float(last["fixed"].mean()),
        "ever_valid": float(ever["valid"].mean()),
        "last_valid": float(last["valid"].mean()),
        "crossed_and_came_back": float(returned.mean()),
        "curve": {
            name: [round(float(x), 6) for x in curve[f"{name}_so_far"]]
            for name in ("fixed", "valid")
        },
    }


def draw(found: dict[str, Any], path: Path) -> None:
    """Shares of series that have crossed so far, by share of the run."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4))
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for name, label, colour in (
        ("fixed", "1.96 at every look", "#d55e00"),
        ("valid", "always-valid", "#0072b2"),
    ):
        values = [100 * x for x in found["curve"][name]]
        at = [10 * i for i in range(len(values))]
        axes.plot(at, values, color=colour, lw=2)
        said = f"{label}: {found[f'ever_{name}']:.0%} ever"
        end = (at[-1], values[-1])
        axes.annotate(
            said, end, xytext=(-6, 8), textcoords="offset points", ha="right", color=colour
        )
    axes.set_xlabel("share of the experiment's run, percent")
    axes.set_ylabel("series that have crossed so far, percent")
    axes.set_ylim(0, 75)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "upliftlab", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def text(found: dict[str, Any], made: dict[str, str]) -> str:
    """The page."""
    versions = ", ".join(f"{k} {v}" for k, v in made.items() if k != "command")
    return f"""# Real experiments, replayed look by look

Made by `{made["command"]}` with {versions}.

{found["series"]} series (experiment x variant x metric) of the ASOS Digital Experiments
Dataset with {found["looks"]:,} looks. A fixed 1.96 at every look against an always-valid range
tuned at {TUNED_AT:,} customers, from {FIRST} customers in the smaller arm on. Nobody knows
which effects are real; what differs is how often one would have stopped, and taken it back.

| | ever crossed | outside at the last look |
|---|--:|--:|
| 1.96 at every look | {found["ever_fixed"]:.1%} | {found["last_fixed"]:.1%} |
| always-valid | {found["ever_valid"]:.1%} | {found["last_valid"]:.1%} |

{found["crossed_and_came_back"]:.1%} of the series crossed 1.96 at some look and lay inside at
the last one.

![Share of series that have crossed so far](looks_asos.svg)
"""


def main() -> None:
    """Replay and write."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    table = pd.read_parquet(parser.parse_args().folder / "asos_experiments.parquet")
    found = shares(table)
    made = {
        "command": "python -m benchmarks.looks_asos FOLDER",
        **{name: metadata.version(name) for name in ("upliftlab", "numpy", "pandas")},
    }
    DOCS.mkdir(parents=True, exist_ok=True)
    draw(found, DOCS / "looks_asos.svg")
    (DOCS / "looks_asos.json").write_text(
        json.dumps({"made": made, **found}, indent=1), encoding="utf-8"
    )
    (DOCS / "looks_asos.md").write_text(text(found, made), encoding="utf-8")
    print(text(found, made))


if __name__ == "__main__":
    main()
