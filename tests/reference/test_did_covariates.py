"""Group-time effects with covariates against R's did 2.5.1, DRDID, csdid and diff-diff.

R numbers are the fixtures of csdid's test suite (scripts beside them). The note inside
``csdid_sim.reference.json`` says ``~1``; the script that made its numbers says ``~X``, and
only ``~X`` gives them. Numbers of csdid 0.4.3 and drdid 1.1.7 were computed for this file.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from upliftlab import did
from upliftlab.data.panel import NEVER, Panel
from upliftlab.panels.adjusted import AdjustedEffects, adjusted
from upliftlab.panels.adjusted_averages import adjusted_average
from upliftlab.panels.cross_sections import cross_sections
from upliftlab.panels.pretrends import cells_test

# R did 2.5.1, att_gt(panel = FALSE, xformla = ~1, est_method = "reg"): ref_gaps.csv, "rc".
R_CROSS_SECTIONS = {
    (2004, 2004): (-0.01050324622096, 0.47582945030214),
    (2004, 2007): (-0.100811363085402, 0.478954513830165),
    (2006, 2005): (-0.00275081875052052, 0.306865431333563),
    (2006, 2006): (-0.00459460695286218, 0.311269143691874),
    (2007, 2004): (0.0305066555832951, 0.221894496894749),
    (2007, 2007): (-0.0260544107191967, 0.223221502794244),
}
# R did 2.5.1, base_period = "universal" and anticipation = 1, ~1: ref_gaps.csv.
R_UNIVERSAL = {
    (2004, 2003): (0.0, 0.0),
    (2006, 2003): (-0.0037692936737142, 0.0313420276018159),
    (2007, 2003): (0.00330635669251235, 0.0244518729439318),
    (2007, 2005): (0.0310871193896889, 0.0178775113133435),
    (2007, 2007): (-0.0260544107191966, 0.0166554353492522),
}
R_ANTICIPATION = {
    (2006, 2004): (0.006520112424233, 0.0233268051418047),
    (2006, 2006): (-0.00734542570338184, 0.022942862267559),
    (2006, 2007): (-0.0439752902967363, 0.0265787670169677),
    (2007, 2007): (-0.0571415301088855, 0.020210163218686),
}
# csdid 0.4.3, lemp ~ lpop, not-yet-treated controls, analytic standard errors.
CSDID_CROSS_SECTIONS = {
    "dr": {
        (2004, 2004): (-0.0211830535, 0.0863784055),
        (2007, 2006): (-0.0284474872, 0.0771197492),
    },
    "ipw": {
        (2004, 2004): (-0.0211850794, 0.4716477912),
        (2007, 2006): (-0.0283403038, 0.2316759408),
    },
    "reg": {
        (2004, 2004): (-0.0212480022, 0.4617541394),
        (2007, 2006): (-0.0285021064, 0.1929843836),
    },
}
CSDID_PANEL = {
    "ipw": {
        (2004, 2004): (-0.0211850794, 0.0216452254),
        (2006, 2004): (-0.007607266, 0.0218085016),
        (2007, 2007): (-0.0288947666, 0.0162464094),
    },
    "dr": {
        (2004, 2004): (-0.0211830535, None),
        (2006, 2006): (0.0086606999, None),
        (2007, 2007): (-0.028781361, None),
    },
}
CSDID_ANTICIPATION = {
    (2006, 2006): (-0.0052419508, 0.0240213296),
    (2006, 2007): (-0.0474963902, 0.0257679416),
    (2007, 2005): (-0.0045765708, 0.0157177631),
    (2007, 2007): (-0.0572288482, 0.0198039989),
}
# drdid 1.1.7 on _tilted(5), weighted, two controls trimmed; (value, standard error).
DRDID_PANEL = {
    "dr": (1.0614392153888457, 0.0870057510091501),
    "ipw": (1.0585029322073178, 0.07314473660344889),
    "reg": (1.3910430264675224, 0.06960520653285643),
}
DRDID_CROSS_SECTIONS = {
    "dr": (-0.03763856831414997, 0.2254369580040301),
    "ipw": (-0.05356296431201546, 0.2965326713444795),
    "reg": (0.04127900797045925, 0.1841382863433427),
}


def test_regression_with_population_equals_r(shared_data: Any) -> None:
    """All 12 cells and four averages of mpdta, never-treated controls, agree with R."""
    expected = _reference(shared_data, "mpdta")["R_did"]["mpdta_nev_reg_cov"]
    found = adjusted(_mpdta(shared_data), method="reg", control="never", base="varying")

    _same_cells(found, expected["att_gt"])
    for kind in KEYS:
        _same_average(found, kind, expected[kind])


def test_doubly_robust_with_a_covariate_equals_r(shared_data: Any) -> None:
    """All 9 cells and four averages of csdid's simulated panel (~X) agree with R."""
    expected = _reference(shared_data, "csdid_sim")["R_did"]
    found = adjusted(_simulated(shared_data), method="dr", control="never", base="varying")

    _same_cells(found, expected["att_gt"])
    for kind in KEYS:
        _same_average(found, kind, expected[kind])


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
@pytest.mark.parametrize(
    ("control", "theirs"), [("never", "never_treated"), ("not_yet", "not_yet_treated")]
)
def test_averages_equal_diff_diff(
    shared_data: Any, method: Any, control: Any, theirs: str
) -> None:
    """Simple and cohort averages with lpop agree with diff-diff 3.13 for all six choices."""
    expected = _reference(shared_data, "mpdta")["diff_diff_cs"][f"{method}|{theirs}|lpop"]
    found = adjusted(_mpdta(shared_data), method=method, control=control, base="varying")
    groups = [{"att_egt": g["att"], "se_egt": g["se"]} for g in expected["group"]]

    value, error = _average(found, "simple")[0]
    assert value == pytest.approx(expected["simple"]["att"], abs=1e-6)
    assert error == pytest.approx(expected["simple"]["se"], rel=1e-4)
    _same_parts(found, "group", groups)


@pytest.mark.parametrize("scenario", ["mpdta_nev_reg_cov", "mpdta_nev_ipw"])
@pytest.mark.parametrize("kind", ["simple", "group", "dynamic", "calendar"])
def test_the_front_door_equals_r(shared_data: Any, kind: str, scenario: str) -> None:
    """did() with a covariate: overall and parts with R's errors; ipw has none, as in R."""
    expected = _reference(shared_data, "mpdta")["R_did"][scenario][kind]
    found = did(
        pd.read_csv(shared_data("did/mpdta.csv")), "lemp",
        unit="countyreal", period="year", start="first_treat",
        covariates="lpop" if scenario.endswith("cov") else (),
        method="reg", control="never", base="varying", inference="analytic",
    )  # fmt: skip
    joint = found.average(kind)
    rows = found.to_pandas(kind)

    assert joint.value[0] == pytest.approx(expected["overall_att"], abs=1e-6)
    assert np.sqrt(joint.cov[0, 0]) == pytest.approx(expected["overall_se"], rel=1e-4)
    if expected["cells"]:
        assert rows.effect.to_numpy() == pytest.approx(
            [cell["att_egt"] for cell in expected["cells"]], abs=1e-6
        )
        assert rows.std_error.to_numpy() == pytest.approx(
            [cell["se_egt"] for cell in expected["cells"]], rel=1e-4
        )


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
@pytest.mark.parametrize(
    ("control", "theirs"), [("never", "never_treated"), ("not_yet", "not_yet_treated")]
)
def test_event_studies_equal_diff_diff(
    shared_data: Any, method: Any, control: Any, theirs: str
) -> None:
    """Effects by time since the start with lpop agree with diff-diff 3.13.

    It moves propensities below .01 up to it and R does not: 1.7e-6 in one horizon of "dr".
    """
    expected = _reference(shared_data, "mpdta")["diff_diff_cs"][f"{method}|{theirs}|lpop"]
    found = adjusted(_mpdta(shared_data), method=method, control=control, base="varying")
    parts = adjusted_average(found, "dynamic", inference="analytic").parts
    rows = expected["event_study"]

    assert parts.value == pytest.approx(
        [row["att"] for row in rows], abs=2e-6 if method == "dr" else 1e-6
    )
    assert np.sqrt(np.diag(parts.cov)) == pytest.approx([r["se"] for r in rows], rel=1e-4)


def test_the_look_before_with_covariates_equals_r(shared_data: Any) -> None:
    """W 6.86127 (p .23116) with population, 1.82935 (p .60857) in the simulated panel."""
    county = adjusted(_mpdta(shared_data), method="reg", control="never", base="varying")
    drawn = adjusted(_simulated(shared_data), method="dr", control="never", base="varying")

    for found, expected in (
        (county, _reference(shared_data, "mpdta")["R_did"]["mpdta_nev_reg_cov"]),
        (drawn, _reference(shared_data, "csdid_sim")["R_did"]),
    ):
        test = cells_test(found, inference="analytic")
        assert test.statistic == pytest.approx(expected["pretest_wald"]["W"], rel=1e-5)
        assert test.p_value == pytest.approx(expected["pretest_wald"]["p"], abs=6e-6)


def test_without_covariates_the_base_and_anticipation_equal_r(shared_data: Any) -> None:
    """One base for all periods, and a year of anticipation, agree with R."""
    panel = _mpdta(shared_data, covariates=False)
    universal = adjusted(panel, method="reg", control="never", base="universal")
    early = adjusted(panel, method="reg", control="never", base="varying", anticipation=1)

    _same_numbers(universal, R_UNIVERSAL)
    _same_numbers(early, R_ANTICIPATION)


def test_not_yet_treated_controls_equal_csdid(shared_data: Any) -> None:
    """Cells with lpop and controls that change over time agree with csdid."""
    panel = _mpdta(shared_data)

    for method, expected in CSDID_PANEL.items():
        _same_numbers(adjusted(panel, method=method, base="varying"), expected)
    early = adjusted(panel, method="dr", base="varying", anticipation=1)
    _same_numbers(early, CSDID_ANTICIPATION)


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
def test_cross_sections_equal_r_and_csdid(shared_data: Any, method: Any) -> None:
    """Rows taken as separate units agree with R (no covariate) and csdid (lpop)."""
    frame = pd.read_csv(shared_data("did/mpdta.csv"))
    start = np.where(frame.first_treat == 0, NEVER, frame.first_treat - 2003)
    columns = (frame.lemp.to_numpy(), frame.year.to_numpy() - 2003, start)
    options = {"periods": range(2003, 2008), "method": method, "base": "varying"}
    plain = cross_sections(*columns, control="never", **options)
    near = cross_sections(*columns, x=frame[["lpop"]].to_numpy(), **options)

    _same_numbers(plain, R_CROSS_SECTIONS)
    _same_numbers(near, CSDID_CROSS_SECTIONS[method])


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
def test_weights_and_trimming_equal_drdid(method: Any) -> None:
    """Weighted, with two controls above .995 without weight, as in DRDID."""
    draw = _tilted(5)
    paths = np.column_stack([draw["before"], draw["after"]])
    rest = {"x": draw["x"], "weight": draw["weight"]}
    panel = adjusted(Panel.of_arrays(paths, draw["start"], **rest), method=method)
    rows = cross_sections(draw["after"], draw["period"], draw["start"], method=method, **rest)

    for found, expected in ((panel, DRDID_PANEL), (rows, DRDID_CROSS_SECTIONS)):
        assert found.att[1, 0] == pytest.approx(expected[method][0], abs=1e-9)
        assert found.std_error[1, 0] == pytest.approx(expected[method][1], rel=1e-8)
        assert found.support[1].trimmed == (0 if method == "reg" else 2)


def test_lines_of_the_commission_plan_add_up_to_profit(shared_data: Any) -> None:
    """ATT(profit) is margin x ATT(GMV) - ATT(commission) to 1e-9, and near the truth.

    csdid 0.4.3 says -51.9413950543 (1.92108837877) for profit (dr, never). diff-diff says
    -51.9467, because it moves propensities below .01 up to it; R does not.
    """
    lines = ["gmv", "other_gmv", "commission_cost", "profit"]
    frame = pd.read_parquet(shared_data("did/synthetic_creator_commission.parquet"))
    frame = frame.sort_values(["creator", "week"])
    unit = frame.groupby("creator")[["cohort", "log_size"]].first()
    panel = Panel.of_arrays(
        frame[lines].to_numpy().reshape(len(unit), -1, len(lines)),
        np.where(unit.cohort == 0, NEVER, unit.cohort - 1),
        names=lines,
        x=unit[["log_size"]].to_numpy(),
    )
    price = np.array([0.2046, 0.2046, -1.0])
    # Stored in three decimals: profit of the stored lines, not the stored profit.
    priced = panel.with_outcome(
        np.concatenate([panel.y[:, :, :3], (panel.y[:, :, :3] @ price)[:, :, None]], axis=2),
        lines,
    )
    found = adjusted(priced, method="dr", control="never")
    truth = _reference(shared_data, "synthetic_creator_commission")
    moved = found.influence.sums(found.cluster)

    assert found.att[:, 3] == pytest.approx(found.att[:, :3] @ price, abs=1e-9)
    assert moved[:, :, 3] == pytest.approx(moved[:, :, :3] @ price, abs=1e-9)
    stored = adjusted(panel, method="dr", control="never")
    value, error = _average(stored, "simple", component=3)[0]
    assert value == pytest.approx(-51.941395054262394, abs=1e-6)
    assert error == pytest.approx(1.9210883787679323, rel=1e-4)
    for k, line in ((2, "commission_cost"), (3, "profit")):
        value, error = _average(stored, "simple", component=k)[0]
        assert abs(value - truth[line]["simple"]) <= 3 * error


def _same_cells(found: AdjustedEffects, expected: list[dict[str, float]]) -> None:
    assert found.att[:, 0] == pytest.approx([cell["att"] for cell in expected], abs=1e-6)
    assert found.std_error[:, 0] == pytest.approx([c["se"] for c in expected], rel=1e-4)


def _same_numbers(found: AdjustedEffects, expected: dict[Any, Any]) -> None:
    for (start, period), (value, error) in expected.items():
        c = [found.label(c) for c in range(len(found.cells))].index(f"{start},{period}")
        assert found.att[c, 0] == pytest.approx(value, abs=1e-6)
        if error is not None:
            assert found.std_error[c, 0] == pytest.approx(error, rel=1e-4)


def _same_average(found: AdjustedEffects, kind: str, expected: dict[str, Any]) -> None:
    value, error = _average(found, kind)[0]

    assert value == pytest.approx(expected["overall_att"], abs=1e-6)
    assert error == pytest.approx(expected["overall_se"], rel=1e-4)
    if expected["cells"]:
        _same_parts(found, kind, expected["cells"])


def _same_parts(found: AdjustedEffects, kind: str, expected: list[dict[str, float]]) -> None:
    parts = _average(found, kind)[1]

    assert [p[0] for p in parts] == pytest.approx([c["att_egt"] for c in expected], abs=1e-6)
    assert [p[1] for p in parts] == pytest.approx([c["se_egt"] for c in expected], rel=1e-4)


KEYS = {
    "simple": lambda g, t: 0 if t >= g else None,
    "group": lambda g, t: g if t >= g else None,
    "dynamic": lambda g, t: t - g,
    "calendar": lambda g, t: t if t >= g else None,
}


def _average(found: AdjustedEffects, kind: str, component: int = 0) -> tuple[Any, list[Any]]:
    """R's aggte: weights are cohort sizes, whose estimation counts; overall and parts."""
    psi = found.influence.sums(np.arange(len(found.start)))[:, :, component]
    att, sizes = found.att[:, component], {g: (found.start == g).sum() for g, _ in found.cells}
    labels = [KEYS[kind](g, t) for g, t in found.cells]
    keys = sorted({key for key in labels if key is not None})
    parts = []
    for key in keys:
        cells = [c for c, label in enumerate(labels) if label == key]
        weight = np.array([sizes[found.cells[c][0]] for c in cells], dtype=float)
        value = float(weight @ att[cells] / weight.sum())
        moved = psi[:, cells] @ weight / weight.sum()
        for c in cells:
            moved = moved + (found.start == found.cells[c][0]) * (att[c] - value) / weight.sum()
        parts.append((value, moved))
    after = [p for key, p in zip(keys, parts, strict=True) if kind != "dynamic" or key >= 0]
    if kind == "group":
        weight = np.array([sizes[g] for g in keys], dtype=float) / sum(sizes[g] for g in keys)
        value = float(weight @ [p[0] for p in after])
        moved = sum(w * p[1] for w, p in zip(weight, after, strict=True))
        total = sum(sizes[g] for g in keys)
        for g, part in zip(keys, after, strict=True):
            moved = moved + (found.start == g) * (part[0] - value) / total
    else:
        value = float(np.mean([p[0] for p in after]))
        moved = np.mean([p[1] for p in after], axis=0)
    errors = [float(np.sqrt((p[1] ** 2).sum())) for p in parts]
    return (value, float(np.sqrt((moved**2).sum()))), [
        (p[0], e) for p, e in zip(parts, errors, strict=True)
    ]


def _mpdta(folder: Any, *, covariates: bool = True) -> Panel:
    frame = pd.read_csv(folder("did/mpdta.csv")).sort_values(["countyreal", "year"])
    unit = frame.groupby("countyreal")[["first_treat", "lpop"]].first()
    return Panel.of_arrays(
        frame.lemp.to_numpy().reshape(len(unit), -1),
        np.where(unit.first_treat == 0, NEVER, unit.first_treat - 2003),
        periods=range(2003, 2008),
        x=unit[["lpop"]].to_numpy() if covariates else None,
    )


def _simulated(folder: Any) -> Panel:
    frame = pd.read_csv(folder("did/csdid_sim.csv")).sort_values(["id", "period"])
    unit = frame.groupby("id")[["G", "X"]].first()
    return Panel.of_arrays(
        frame.Y.to_numpy().reshape(len(unit), -1),
        np.where(unit.G == 0, NEVER, unit.G - 1),
        x=unit[["X"]].to_numpy(),
    )


def _tilted(seed: int) -> dict[str, np.ndarray]:
    """3,000 units whose covariates all but tell who is treated; two look-alikes are not."""
    rng, n = np.random.default_rng(seed), 3_000
    x = rng.normal(size=(n, 2))
    chance = 1 / (1 + np.exp(-(0.1 + 1.5 * x[:, 0] - 0.4 * x[:, 1])))
    treated = rng.random(n) < chance
    treated[np.argsort(chance)[-2:]] = False
    weight = rng.uniform(0.5, 2, n)
    before = x[:, 0] + rng.normal(size=n)
    after = before + 0.3 * x[:, 0] ** 2 + treated + rng.normal(size=n)
    return {
        "x": x,
        "start": np.where(treated, 1, NEVER),
        "weight": weight,
        "before": before,
        "after": after,
        "period": (rng.random(n) < 0.5).astype(int),
    }


def _reference(folder: Any, name: str) -> Any:
    return json.loads(folder(f"did/{name}.reference.json").read_text(encoding="utf-8"))
