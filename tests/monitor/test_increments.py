"""Looks added up equal one reading of everything, whatever came late and in which files."""

from __future__ import annotations

import os
import random
from datetime import date, timedelta

import pandas as pd
import pytest

from upliftlab.experiment import Experiment
from upliftlab.monitor.run import look
from upliftlab.monitor.state import load

PLAN = """
name: orders
kind: smart_coupon
run: {start: 2026-06-01, end: 2026-06-08}
follow_up: 3 days
returns_final_after: 2 days
arms: {none: {share: 50%, control: true}, coupon: {share: 50%, coupon: 5, over: 0}}
costs: {margin: 50%}
covariates: none
looks: {planned: 1000, every: 1 day}
data:
  assignments: {file: assignments.parquet}
  order_lines: {file: "lines_*.parquet", money: fen}
  refunds: {file: "refunds_*.csv", money: fen}
  exposures: {file: exposures.parquet}
"""
START, LAST = date(2026, 6, 1), 13
"""All windows are closed and all returns final on day 13."""


def moment(day: int, rng: random.Random) -> pd.Timestamp:
    midnight = pd.Timestamp("2026-06-01", tz="Asia/Shanghai") + pd.Timedelta(days=day)
    return midnight + pd.Timedelta(seconds=rng.randrange(86_400))


def arrival(day: int, rng: random.Random) -> int:
    """Most rows are there on their day; some come up to four days late."""
    return day + (rng.randrange(1, 5) if rng.random() < 0.15 else 0)


def story(seed: int) -> dict[str, pd.DataFrame]:
    """A hundred customers with orders before, within and after their windows."""
    rng = random.Random(seed)  # noqa: S311 - a made-up shop
    rows: dict[str, list[dict[str, object]]] = {
        name: [] for name in ("assignments", "order_lines", "refunds", "exposures")
    }
    for i in range(100):
        arm, day = ("none", "coupon")[i % 2], rng.randrange(8)
        for again in (0, rng.choice((0, 0, 0, 2))):
            # Some are assigned again, and a few of them to the other arm.
            if again or len(rows["assignments"]) <= i * 2:
                other = "none" if again and rng.random() < 0.3 else arm
                rows["assignments"].append(
                    {"unit": f"user-{i:04d}", "arm": other, "day": day + again}
                )
        for k in range(rng.choice((0, 0, 1, 3))):
            paid = day + rng.randrange(-1, 6)
            order = f"order-{i}-{k}"
            rows["order_lines"].append(
                {"order_id": order, "line_id": f"line-{i}-{k}", "unit": f"user-{i:04d}",
                 "settlement_base_fen": rng.randrange(100, 9_000),
                 "merchant_coupon_fen": rng.choice((0, 500)), "day": paid}
            )  # fmt: skip
            if rng.random() < 0.5:
                rows["refunds"].append(
                    {"refund_id": f"refund-{i}-{k}", "order_id": order, "amount_fen": 100,
                     "type": "return_refund", "day": max(paid, 0) + rng.randrange(6)}
                )  # fmt: skip
        if rng.random() < 0.5:
            rows["exposures"].append({"unit": f"user-{i:04d}", "day": day + rng.randrange(5)})
    clocks = {"assignments": "assigned_at", "order_lines": "paid_at", "refunds": "refunded_at",
              "exposures": "at"}  # fmt: skip
    out = {}
    for name, found in rows.items():
        for row in found:
            row[clocks[name]] = moment(row["day"], rng)
            row["known"] = row["day"] if name == "exposures" else arrival(row["day"], rng)
        out[name] = pd.DataFrame(found)
    return out


def write(folder, tables: dict[str, pd.DataFrame], day: int) -> None:
    """Leave in the folder what is known on a day: lines and refunds as one file per day."""
    for name, table in tables.items():
        known = table[table["known"] <= day].drop(columns="known")
        if name == "order_lines":
            for each, rows in known.groupby("day"):
                path = folder / f"lines_{each + 10}.parquet"
                rows.drop(columns="day").to_parquet(path, index=False)
        elif name == "refunds":
            for each, rows in known.groupby("day"):
                text = rows.drop(columns="day").to_csv(index=False)
                (folder / f"refunds_{each + 10}.csv").write_text(text, encoding="utf-8")
        else:
            known.drop(columns="day").to_parquet(folder / f"{name}.parquet", index=False)


def read_by(state) -> tuple[dict, dict, dict]:
    """What a state adds up to: counts, means and second moments; power sums; assignments."""
    found = load(state)
    cells = found.cells.select(sorted(found.cells.names))
    moments = {
        (*label, name): (int(cells.n[i]), float(cells.mean[i, k]), float(cells.m2[i, k, k]))
        for i, label in enumerate(cells.labels)
        for k, name in enumerate(cells.names)
        # A component that all units lack has no column in some looks, and zeros in others.
        if cells.mean[i, k] > 1e-9
    }
    powers = {
        (day, arm): (sums.active, sums.one, sums.two, sums.three)
        for day, by in found.powers.items()
        for arm, sums in by.items()
    }
    return moments, powers, {(day, arm): (n,) for day, by in found.assigned.items()
                             for arm, n in by.items()}  # fmt: skip


def assert_same(one, other) -> None:
    """Two states hold the same to float precision."""
    for mine, theirs in zip(read_by(one), read_by(other), strict=True):
        assert sorted(mine) == sorted(theirs)
        for key, value in theirs.items():
            assert mine[key] == pytest.approx(value, rel=1e-9, abs=1e-9), key


@pytest.mark.parametrize(("seed", "days"), [(1, (7, 10)), (2, (6, 11))])
def test_looks_added_up_equal_one_reading(tmp_path, seed, days):
    """Looks on some days, rows up to four days late, refunds after the window."""
    folder, tables = tmp_path, story(seed)
    plan = Experiment.from_text(PLAN, base=folder)
    for day in (*days, LAST):
        write(folder, tables, day)
        found = look(plan, state=folder / "state", as_of=START + timedelta(days=day))
    once = look(plan, state=folder / "once", as_of=START + timedelta(days=LAST))

    assert_same(folder / "state", folder / "once")
    assert found.now.n == once.now.n


def test_a_look_that_was_killed_is_taken_again(tmp_path, monkeypatch):
    """Killed before the state is in place: the old one is whole, and the look repeats."""
    tables = story(5)
    plan = Experiment.from_text(PLAN, base=tmp_path)
    state = tmp_path / "state"
    write(tmp_path, tables, 8)
    look(plan, state=state, as_of=START + timedelta(days=8))
    before = state.read_bytes()
    write(tmp_path, tables, LAST)

    def killed(_handle: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            look(plan, state=state, as_of=START + timedelta(days=LAST))
    assert state.read_bytes() == before
    assert not list(tmp_path.glob(".state*"))
    again = look(plan, state=state, as_of=START + timedelta(days=LAST))
    twice = look(plan, state=state, as_of=START + timedelta(days=LAST))
    whole = look(plan, state=tmp_path / "once", as_of=START + timedelta(days=LAST))
    assert again.now.n == whole.now.n
    assert twice.to_dict() == again.to_dict()


def test_a_file_corrected_in_place_is_read_again(tmp_path):
    """The same rows with another amount, in a file of a day that was known."""
    tables = story(6)
    plan = Experiment.from_text(PLAN, base=tmp_path)
    write(tmp_path, tables, 10)
    look(plan, state=tmp_path / "state", as_of=START + timedelta(days=10))
    lines = tables["order_lines"]
    lines.loc[lines["day"] == 3, "settlement_base_fen"] += 50_000
    write(tmp_path, tables, 11)
    found = look(plan, state=tmp_path / "state", as_of=START + timedelta(days=11))
    look(plan, state=tmp_path / "once", as_of=START + timedelta(days=11))

    assert "late_rows" in [check.name for check in found.checks]
    assert_same(tmp_path / "state", tmp_path / "once")


def test_files_that_stayed_are_not_counted_again(tmp_path, monkeypatch):
    """Of fourteen days in files, only those that came since the last look are opened."""
    from upliftlab.data import look_sources

    tables = {name: table.assign(known=table["day"]) for name, table in
              story(7).items()}  # fmt: skip
    plan = Experiment.from_text(PLAN, base=tmp_path)
    write(tmp_path, tables, 9)
    look(plan, state=tmp_path / "state", as_of=START + timedelta(days=9))
    write(tmp_path, tables, 10)
    opened = []
    read = look_sources.read_paths

    def noted(engine, name, paths, source, **more):
        if more:
            opened.extend(path.name for path in paths if name == "order_lines")
        return read(engine, name, paths, source, **more)

    monkeypatch.setattr(look_sources, "read_paths", noted)
    look(plan, state=tmp_path / "state", as_of=START + timedelta(days=10))
    assert opened == ["lines_20.parquet"]
