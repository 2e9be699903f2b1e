"""A result as a picture: a bar a case, from zero, with its unit and what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
# Readable on a light and on a dark page; text stays text, in the reader's own font.
INK, BAR, OURS = "#8a8a8a", "#9db4c0", "#3b7dd8"


def unit_for(seconds: float) -> tuple[float, str]:
    """The largest unit in which *seconds* is at least one."""
    return next(((size, name) for size, name in UNITS if seconds >= size), UNITS[-1])


def save_plot(document: dict[str, Any], path: Path) -> None:
    """Write the plot of *document* to *path*: the same bytes for the same figures."""
    import matplotlib  # noqa: PLC0415 - a second to import, and only who plots needs it

    matplotlib.use("svg")
    from matplotlib import pyplot  # noqa: PLC0415

    cases = document["cases"]
    size, unit = unit_for(max(case["median_s"] for case in cases))
    times = [case["median_s"] / size for case in cases]
    names = [case["case"] for case in cases]
    errors = [time * case["spread"] / 2 for time, case in zip(times, cases, strict=True)]
    colours = [OURS if case["case"] == case["baseline"] else BAR for case in cases]
    labels = [
        f"{time:.3g} ({case['ratio']:.3g} ×)" for time, case in zip(times, cases, strict=True)
    ]
    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": document["name"],
        "font.family": "sans-serif",
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with matplotlib.rc_context(style):
        figure, axes = pyplot.subplots(figsize=(8, 0.9 + 0.36 * len(cases)), layout="constrained")
        bars = axes.barh(names, times, xerr=errors, color=colours, ecolor=INK, height=0.62)
        axes.bar_label(bars, labels=labels, padding=4)
        axes.invert_yaxis()
        # Room for the labels: one outside the axes is not drawn.
        ends = [time + error for time, error in zip(times, errors, strict=True)]
        axes.set_xlim(0, max(ends) * 1.4)
        axes.set_xlabel(
            f"{unit}, median of {document['repetitions']} rounds; × is times the blue bar",
            loc="left",
        )
        axes.spines[["top", "right"]].set_visible(False)
        counted = f"{document['size']:,} {document.get('unit', 'rows')}"
        axes.set_title(f"{document['title']}, {counted}", loc="left")
        versions = document["versions"]
        figure.supxlabel(
            f"PostgreSQL {versions['postgresql']}, SQLAlchemy {versions['sqlalchemy']}, "
            f"Python {versions['python']}",
            fontsize="small",
            x=0.02,
            ha="left",
        )
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
        pyplot.close(figure)
