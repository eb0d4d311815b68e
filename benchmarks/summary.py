"""What do the runs of the studies say, by the rule that was fixed beforehand?"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

NOMINAL, SLACK, ALPHA = 0.95, 0.015, 0.001
FALSE_POSITIVE_LIMIT = 0.06
CONSERVATIVE = 0.03
ARMS = ("coupon_5", "coupon_10", "coupon_20")

RULE = (
    "Rule, fixed before the runs: coverage fails where a binomial test rejects "
    "'coverage >= 93.5 %' at 0.001 (Holm over the table); false positives fail above 6 %, and "
    "3 % or less is labelled conservative. Seeds are fixed in advance, none is drawn again."
)


def report(
    studies: dict[str, list[dict[str, Any]]], truth: dict[str, Any], made: dict[str, str]
) -> tuple[str, dict[str, Any]]:
    """Return the page and its data."""
    coverage = coverage_table(studies["coverage"], truth)
    size = false_positives(studies["false_positives"])
    verdicts = {
        name: _verdicts(rows)
        for name, rows in studies.items()
        if name.startswith("decision") and name != "decision_srm"
    }
    ratio = _shares_caught(studies["decision_srm"])
    data = {
        "made": made,
        "runs": {name: len(rows) for name, rows in studies.items()},
        "coverage": coverage,
        "false_positives": size,
        "verdicts": verdicts,
        "sample_ratio_caught": ratio,
    }
    lines = [
        "# Certified: smart coupon",
        "",
        _made(made),
        "",
        f"## Coverage of 95 % intervals, {len(studies['coverage']):,} tests of 20,000 per arm",
        "",
        "| number | arm | truth, fen | mean estimate | coverage | verdict | width / plain |",
        "|---|---|---:|---:|---:|---|---:|",
        *(_coverage_row(row) for row in coverage),
        "",
        f"## False positives, {len(studies['false_positives']):,} A/A tests of 10,000 per arm",
        "",
        "| number | arm | rejected | verdict |",
        "|---|---|---:|---|",
        *(f"| {r['name']} | {r['arm']} | {r['rate']:.2%} | {r['verdict']} |" for r in size),
        "",
        "## Verdicts at 400,000 customers per arm",
        "",
        (
            "`decision` follows the process as written, with follow-up orders at their "
            "expected profit; `decision_drawn` draws the fate of each follow-up order, which "
            "is noisier (26 instead of 22.5 yuan per customer)."
        ),
        "",
        *_verdict_lines(verdicts, studies),
        (
            f"- `srm`: the sample-ratio check failed (no verdict) in {ratio:.0%} of "
            f"{len(studies['decision_srm'])} tests."
        ),
        "",
    ]
    return "\n".join(lines), data


def _made(made: dict[str, str]) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in made.items() if k != "command")
    return f"Made by `{made['command']}` with {versions}. {RULE}"


def coverage_table(rows: list[dict[str, Any]], truth: dict[str, Any]) -> list[dict[str, Any]]:
    """Coverage of every number in every arm, with the binomial verdict."""
    out = []
    for arm in ARMS:
        names = list(rows[0]["estimates"][arm])
        for name in names:
            if name == "profit, all arms at once":
                continue
            found = [row["estimates"][arm][name] for row in rows]
            out.append(_covered(name, arm, found, truth[arm][name]))
        out.append(
            _covered(
                "profit 14 d", arm, [r["short"][arm] for r in rows], truth[arm]["profit 14 d"]
            )
        )
        plain = _covered(
            "profit, unadjusted", arm, [r["plain"][arm] for r in rows], truth[arm]["profit"]
        )
        adjusted = next(r for r in out if r["arm"] == arm and r["name"] == "profit")
        adjusted["relative_width"] = adjusted["width"] / plain["width"]
        out.append(plain)
    for key in rows[0]["segments"]:
        found = [row["segments"][key] for row in rows]
        out.append(
            _covered(
                f"profit, {key.rsplit(' ', 1)[0]}",
                key.rsplit(" ", 1)[1],
                found,
                truth[key]["profit"],
            )
        )
    out.append(_joint(rows, truth))
    _judge(out)
    return out  # fmt: skip


def false_positives(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Share of A/A tests in which a true null is rejected at 5 %."""
    out = []
    for arm in ARMS:
        for name in rows[0]["estimates"][arm]:
            p = np.array(
                [np.nan if (x := r["estimates"][arm][name][3]) is None else x for r in rows],
                dtype=float,
            )
            p = p[np.isfinite(p)]
            if len(p) < len(rows) / 2 or name in {"iROI", "profit, all arms at once"}:
                continue
            rate = float((p < 0.05).mean())
            out.append({"name": name, "arm": arm, "rate": rate, "verdict": _size(rate)})
    ratio = np.array([row["sample_ratio"] for row in rows])
    rate = float((ratio < 0.001).mean())
    limit = stats.binom.isf(0.001, len(rows), 0.001) / len(rows)
    out.append(
        {
            "name": "sample ratio, at 0.001",
            "arm": "all",
            "rate": rate,
            "verdict": "pass" if rate <= limit else "fail",
        }
    )
    return out


def _covered(name: str, arm: str, found: list[list[Any]], true: float) -> dict[str, Any]:
    inside = [_holds(row, true) for row in found]
    low = np.array([row[1] for row in found], dtype=float)
    high = np.array([row[2] for row in found], dtype=float)
    return {
        "name": name,
        "arm": arm,
        "truth": true,
        "mean": float(np.nanmean([row[0] for row in found])),
        "runs": len(inside),
        "covered": int(np.sum(inside)),
        "width": float(np.nanmedian(high - low)),
    }


def _holds(row: list[Any], true: float) -> bool:
    _, low, high, _, shape = row
    if shape == "interval":
        return bool(low <= true <= high)
    if shape == "outside":
        return bool(true <= low or true >= high)
    # A line that is zero in every run has no interval and nothing to cover.
    return shape == "everything" or true == 0


def _joint(rows: list[dict[str, Any]], truth: dict[str, Any]) -> dict[str, Any]:
    name = "profit, all arms at once"
    inside = [
        all(_holds(row["estimates"][arm][name], truth[arm]["profit"]) for arm in ARMS)
        for row in rows
    ]
    return {
        "name": name, "arm": "all", "truth": float("nan"), "mean": float("nan"),
        "runs": len(inside), "covered": int(np.sum(inside)), "width": float("nan"),
    }  # fmt: skip


def _judge(table: list[dict[str, Any]]) -> None:
    """Holm over the table of one-sided binomial tests of 'coverage >= 93.5 %'."""
    p = np.array(
        [stats.binom.cdf(row["covered"], row["runs"], NOMINAL - SLACK) for row in table]
    )
    order = np.argsort(p)
    alive = True
    for rank, i in enumerate(order):
        alive = alive and p[i] <= ALPHA / (len(p) - rank)
        table[i]["verdict"] = "FAIL" if alive else "pass"
    for row in table:
        row["coverage"] = row["covered"] / row["runs"]


def _size(rate: float) -> str:
    if rate > FALSE_POSITIVE_LIMIT:
        return "FAIL"
    return "conservative" if rate <= CONSERVATIVE else "pass"


def _verdicts(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for arm in ARMS:
        seen = [tuple(row["verdicts"][arm]) for row in rows]
        out[arm] = {
            " / ".join(part for part in kind if part): seen.count(kind) / len(seen)
            for kind in sorted(set(seen))
        }
    return out


def _verdict_lines(
    verdicts: dict[str, Any], studies: dict[str, list[dict[str, Any]]]
) -> list[str]:
    lines = []
    for name, arms in verdicts.items():
        lines.append(f"- `{name}` ({len(studies[name])} tests)")
        lines += [
            f"    - {arm}: "
            + "; ".join(f"{kind} {share:.0%}" for kind, share in sorted(kinds.items()))
            for arm, kinds in arms.items()
        ]
    return lines


def _shares_caught(rows: list[dict[str, Any]]) -> float:
    return float(np.mean([row["sample_ratio"] < 0.001 for row in rows]))


def _coverage_row(row: dict[str, Any]) -> str:
    number = "" if not np.isfinite(row["truth"]) else f"{row['truth']:.3f}"
    mean = "" if not np.isfinite(row["mean"]) else f"{row['mean']:.3f}"
    width = f"{row['relative_width']:.2f}" if "relative_width" in row else ""
    return (
        f"| {row['name']} | {row['arm']} | {number} | {mean} | {row['coverage']:.1%} | "
        f"{row['verdict']} | {width} |"
    )
