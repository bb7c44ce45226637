"""Figures of the speed benchmark as Markdown, the goals beside what was measured."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from ddcl_tab.app._tables import as_markdown

PROTOTYPES_ON_MEAN = "mean pooling, prototypes, linear head"
PLAIN, SKORCH = "FT-Transformer, plain loop", "FT-Transformer, skorch's default loader"
AXES = {"n_rows": "rows", "n_columns": "columns", "n_prototypes": "prototypes K", "width": "width"}
SWEEP_NOTE = (
    "Log-log slopes over all sizes with their standard errors, and from the last size but one to the last. A constant "
    "cost lowers them. What raises them: the C library maps an array over 32 MiB anew at each use, page by page, which "
    "the readout alone crosses with 131,072 tokens of width 64 (rows times columns)."
)
#: MB of memory that a stream may take.
STREAM_MB = 2000


class Goal(NamedTuple):
    """A goal beside what was measured; ``met`` is None where nothing could be measured."""

    name: str
    wanted: str
    measured: str
    met: bool | None


def goals(figures: dict[str, Any]) -> list[Goal]:
    """The goals of the project in the order of the tables."""
    widest = figures["widths"]["64"]
    train, predict = (widest[name]["contenders"] for name in ("training", "prediction"))
    mean = figures["readouts"][PROTOTYPES_ON_MEAN]["over_mean_pooling"]
    rows = [
        _at_least("training at width 64, share of the ceiling", 0.55, train["ours"]["ceiling_share"], percent),
        _at_least(
            "prediction at width 64, share of the ceiling",
            0.65,
            predict["ours, predict_rows"]["ceiling_share"],
            percent,
        ),
        _against("training over FT-Transformer in a plain loop", 1.8, train, PLAIN),
        _against("training over FT-Transformer with skorch's default loader", 3.0, train, SKORCH),
        Goal(
            "prototypes on mean pooling over mean pooling alone, training step",
            "<= 3 %",
            f"{percent(mean['median'] - 1)} ({percent(mean['min'] - 1)} to {percent(mean['max'] - 1)})",
            mean["median"] - 1 <= 0.03,
        ),
    ]
    sweeps = figures["sweeps"]
    exponents = [("n_rows", what) for what in ("training", "prediction", "readout")] + [("n_columns", "readout")]
    rows += [_exponent(axis, what, sweeps[axis][what]["exponent"]) for axis, what in exponents]
    return [*rows, _streamed(figures["stream"])]


def percent(value: float) -> str:
    """A share as text."""
    return f"{100 * value:.1f} %"


def times(value: float) -> str:
    """A factor as text."""
    return f"{value:.2f}x"


def _ranged(values: dict[str, float], text: Any) -> str:
    return f"{text(values['median'])} ({text(values['min'])} to {text(values['max'])})"


def _at_least(name: str, wanted: float, values: dict[str, float], text: Any) -> Goal:
    return Goal(name, f">= {text(wanted)}", _ranged(values, text), values["median"] >= wanted)


def _against(name: str, wanted: float, contenders: dict[str, Any], rival: str) -> Goal:
    if rival not in contenders:
        return Goal(name, f">= {times(wanted)}", "rtdl_revisiting_models is not installed", None)
    return _at_least(name, wanted, contenders[rival]["times_of_first"], times)


def _exponent(axis: str, what: str, found: dict[str, Any]) -> Goal:
    measured = f"{_slope(found)}, last step {found['last']:.2f}"
    return Goal(f"exponent of {what} in {AXES[axis]}", "<= 1.05", measured, found["slope"] <= 1.05)


def _slope(found: dict[str, Any]) -> str:
    error = found["standard_error"]
    return f"{found['slope']:.2f}" + ("" if error is None else f" ± {error:.2f}")


def _streamed(stream: dict[str, Any]) -> Goal:
    run = stream["run"]
    peak_mb = run["peak_mib"] * 1.048576
    measured = f"{run['rows']:,} rows with {peak_mb:.0f} MB at {run['rows'] / run['seconds']:,.0f} rows/s"
    whole = run["rows"] >= stream["asked"]
    if not whole:
        measured += f"; {stream['asked']:,} would take {stream['asked'] * run['seconds'] / run['rows'] / 60:.0f} min"
    wanted = f"{stream['asked']:,} rows under {STREAM_MB} MB"
    # A part of the rows can miss the goal; only all of them can meet it.
    met = peak_mb < STREAM_MB if whole or peak_mb >= STREAM_MB else None
    return Goal("prediction from Parquet in a stream", wanted, measured, met)


def markdown(figures: dict[str, Any]) -> str:
    """All tables."""
    header = figures["header"]
    stated = ", ".join(f"{name} {version}" for name, version in header["versions"].items())
    parts = [
        "# Speed",
        f"Made by `{header['command']}`. Machine: {header['machine']}; one thread; load {header['load']:.1f} at the "
        f"start. Versions: {stated}.",
        "Seconds are those of the processor. Contenders take turns; each figure is a median over the turns, with the "
        "range in brackets; a ratio is taken inside a turn.",
    ]
    if header["short"]:
        parts.append("**Short form**: small tables and few turns. This shows that the command works, nothing else.")
    parts += ["## Goals", _goal_table(figures)]
    for width, found in figures["widths"].items():
        for name in ("training", "prediction"):
            parts += [f"## {name.capitalize()} at width {width}", *_throughput(found[name])]
    parts += ["## Readouts in one and the same plain loop", _readout_note(), _readout_table(figures["readouts"])]
    parts += ["## Exponents", SWEEP_NOTE]
    for axis, found in figures["sweeps"].items():
        parts += [f"### Against {AXES[axis]}", _sweep_table(axis, found)]
    parts += ["## Start-up", _start_table(figures["start_up"]), "## torch.compile", _compile_text(figures["compile"])]
    return "\n\n".join(parts) + "\n"


def _table(rows: list[dict[str, Any]]) -> str:
    return as_markdown(pl.DataFrame(rows))


def _goal_table(figures: dict[str, Any]) -> str:
    said = {True: "yes", False: "no", None: "not measured in full"}
    return _table(
        [{"goal": g.name, "wanted": g.wanted, "measured": g.measured, "met": said[g.met]} for g in goals(figures)]
    )


def _throughput(found: dict[str, Any]) -> list[str]:
    rows = [
        {
            "contender": name,
            "rows/s": _ranged(row["rows_per_second"], lambda v: f"{v:,.0f}"),
            "ms a batch": f"{row['step_ms']['median']:.2f}",
            "GFLOP a batch": f"{row['gflop_per_batch']:.2f}",
            "share of the ceiling": _ranged(row["ceiling_share"], percent),
            "time over the first": _ranged(row["times_of_first"], times),
        }
        for name, row in found["contenders"].items()
    ]
    note = (
        f"Ceiling: {_ranged(found['ceiling_gflops'], lambda v: f'{v:.0f}')} GFLOP/s, a large float32 matrix product in "
        "the same turns. FLOPs are those of the matrix products. 'Products alone' repeats the products and "
        "the attention of one batch at their own shapes: the speed of ours if all the rest took no time."
    )
    return [note, _table(rows)]


def _readout_note() -> str:
    return (
        "Mean pooling and ours need all tokens of the last block, a class token only itself, so ours is compared with "
        "both. Prototypes alone, on one token a row, are the second line over the first."
    )


def _readout_table(found: dict[str, Any]) -> str:
    return _table(
        [
            {
                "readout": name,
                "ms a step": f"{row['step_ms']['median']:.2f}",
                "over mean pooling": _ranged(row["over_mean_pooling"], lambda v: f"{v:.3f}"),
                "over class token": _ranged(row["over_class_token"], lambda v: f"{v:.3f}"),
            }
            for name, row in found.items()
        ]
    )


def _sweep_table(axis: str, found: dict[str, Any]) -> str:
    name = {"training": "training epoch" if axis == "n_rows" else "training step", "readout": "readout alone"}
    rows = []
    for what in ("training", "readout", "prediction"):
        row = found[what]
        for quantity, values, fitted, text in (
            ("ms", [1e3 * s for s in row["seconds"]], row["exponent"], "{:,.2f}"),
            ("MiB over start", row["mib"], row["memory_exponent"], "{:,.1f}"),
        ):
            line = {"": f"{name.get(what, what)}, {quantity}"}
            line |= {f"{size:,}": text.format(value) for size, value in zip(found["sizes"], values, strict=True)}
            rows.append(line | {"exponent": _slope(fitted), "last step": f"{fitted['last']:.2f}"})
    return _table(rows)


def _start_table(found: dict[str, Any]) -> str:
    return _table(
        [
            {
                "command": name,
                "processor s": _ranged(row["processor"], lambda v: f"{v:.2f}"),
                "on the wall s": _ranged(row["wall"], lambda v: f"{v:.2f}"),
            }
            for name, row in found.items()
        ]
    )


def _compile_text(found: dict[str, Any]) -> str:
    if "failed" in found:
        return f"Did not work here: {found['failed']}."
    lines = []
    for name in ("training", "prediction"):
        start, speedup, step = (found[f"{name}_{what}"] for what in ("start_seconds", "speedup", "step_seconds"))
        saved = step * (1 - 1 / speedup)
        pays = f"pays after {start / saved:,.0f} batches" if saved > 0 else "never pays"
        lines.append(f"{name.capitalize()}: {times(speedup)} as fast after {start:.0f} s of start-up (wall); {pays}.")
    return "\n".join(lines)
