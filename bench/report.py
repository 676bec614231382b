#!/usr/bin/env python3
"""Makes RESULTS.md and its plots from the results of the benchmarks. bench/run.sh uses it.

    bench/report.py machine FILE [--quick]    appends a line about machine and commit to FILE
    bench/report.py write FILE DIR            writes DIR/RESULTS.md and DIR/plots/*.svg

FILE has JSON lines, as the benchmarks append with `--json FILE`. Plots need matplotlib.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
from collections import defaultdict
from dataclasses import dataclass

import scaling

ROOT = pathlib.Path(__file__).resolve().parent.parent

# The least, or for `<=` the greatest, median that a figure should have, with its unit.
TARGETS = [
    ("drain to raw insert", ">=", 0.6, ""),
    ("drain to unsafe drain", ">=", 0.75, ""),
    ("drain, two processes to one", ">=", 1.0, ""),
    ("embedded drain to prepared inserts", ">=", 0.5, ""),
    ("accepted to visible, p99", "<=", 300, " ms"),
    ("a session's row after its event's, at most", "<=", 2000, " ms"),
    ("/track to bare hyper (Redis)", ">=", 0.6, ""),
    ("/track to bare hyper (SQLite)", ">=", 0.4, ""),
    ("events of /batch to /track (Redis)", ">=", 10, ""),
    ("events of /batch to /track (SQLite)", ">=", 10, ""),
    ("with console and logs to without (Redis)", ">=", 0.95, ""),
    ("with console and logs to without (SQLite)", ">=", 0.95, ""),
    ("p99 of POST /track, half the rate (Redis)", "<=", 10, " ms"),
    ("p99 of POST /track, half the rate (SQLite)", "<=", 10, " ms"),
    # Regular expressions without a long literal part.
    ("filter how.*count to ripgrep", "<=", 1.0, ""),
    ("filter /[a-z]+ted/ to ripgrep", "<=", 1.0, ""),
]
OTHER_FILTERS = ("<=", 0.7, "")

# Units that have a panel in a plot, with the figure that its sentence is about, for each plot.
PANELS = ["events/s", "µs/event", "ms", "MiB"]
SUBJECTS = {
    ("track", "connections"): {
        "events/s": "POST /track (Redis)",
        "µs/event": "processor time of POST /track (Redis), server",
        "ms": "p99 of POST /track (Redis)",
    },
    ("worker", "batch"): {"events/s": "drain", "µs/event": "processor time of the drain, ClickHouse"},
    ("worker", "workers"): {"events/s": "drain", "µs/event": "processor time of the drain, worker"},
    ("worker", "shards"): {"events/s": "drain", "µs/event": "processor time of the drain, Redis"},
    ("console", "lines"): {"ms": "filter checkout", "MiB": "memory of the lines"},
}


@dataclass(frozen=True)
class Result:
    """The values that one command measured for one figure."""

    bench: str
    options: str
    figure: str
    unit: str
    plot: str | None
    values: tuple[float, ...]

    @property
    def command(self) -> str:
        return f"cargo bench --bench {self.bench}" + (f" -- {self.options}" if self.options else "")

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def x(self) -> float:
        """The place in a plot: the value of the option that varies."""
        words = self.options.split()
        return float(words[words.index(f"--{self.plot}") + 1])


def number(value: float) -> str:
    """Three significant digits, and at least all digits before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):.12g}"


def read(file: pathlib.Path) -> tuple[dict, list[Result]]:
    machine, results = {}, []
    for line in file.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "machine" in record:
            machine = record["machine"]
        elif record["values"]:
            results.append(Result(**record | {"values": tuple(record["values"])}))
    return machine, results


def machine(quick: bool) -> dict:
    """What the results depend on, besides the options."""

    def output(*command: str) -> str:
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return ""
        return done.stdout.strip()

    def field(file: str, name: str) -> str:
        found = re.search(rf"^{name}\s*:\s*(.*)$", pathlib.Path(file).read_text(), re.MULTILINE)
        return found[1] if found else "unknown"

    kilobytes = int(field("/proc/meminfo", "MemTotal").split()[0])
    changed = " with changes" if output("git", "status", "--porcelain", "--untracked-files=no") else ""
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "date": f"{now:%Y-%m-%d %H:%M} UTC",
        "commit": output("git", "rev-parse", "--short=12", "HEAD") + changed,
        "cores": len(os.sched_getaffinity(0)),
        "processor": field("/proc/cpuinfo", "model name"),
        "memory": f"{kilobytes / 2**20:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "load average before": f"{os.getloadavg()[0]:.2f}",
        "rustc": output("rustc", "--version"),
        "Valkey": output(os.environ.get("BKLIT_TEST_VALKEY", "valkey-server"), "--version"),
        "ripgrep": output("target/bench/bin/rg", "--version").partition("\n")[0],
        "quick": quick,
    }


def two_processes(results: list[Result]) -> list[Result]:
    """Compares drains by two processes with the same by one."""
    found = []
    drains = [result for result in results if result.figure == "drain" and not result.plot]
    for two in drains:
        options = two.options.replace(" --processes 2", "")
        one = next((one for one in drains if one.options == options != two.options), None)
        if one:
            ratios = tuple(value / one.median for value in two.values)
            figure = "drain, two processes to one"
            found.append(Result("worker", two.options, figure, "ratio", None, ratios))
    return found


def targets(results: list[Result]) -> str:
    rows = []
    filters = {r.figure for r in results if re.fullmatch("filter .* to ripgrep", r.figure)}
    others = sorted(filters - {figure for figure, *_ in TARGETS})
    for figure, sign, bound, unit in TARGETS + [(figure, *OTHER_FILTERS) for figure in others]:
        goal = f"{'at least' if sign == '>=' else 'at most'} {bound:g}{unit}"
        of_figure = [result for result in results if result.figure == figure and not result.plot]
        if not of_figure:
            rows.append([figure, goal, "–", "", "", "no figure yet"])
        for result in of_figure:
            met = result.median >= bound if sign == ">=" else result.median <= bound
            span = f"{number(min(result.values))} to {number(max(result.values))}"
            cells = [figure, goal, number(result.median) + unit, span, "yes" if met else "**no**"]
            rows.append([*cells, f"`{result.command}`"])
    return scaling.table(["figure", "target", "median", "range", "reached", "command"], rows)


def costs(about: dict, results: list[Result]) -> str:
    """What scaling.py reads: the first result of each figure that is not a point of a plot."""
    rows = [["cores of the machine", str(about.get("cores", "–")), "", ""]]
    for figure in scaling.COSTS.values():
        result = next((r for r in results if r.figure == figure and not r.plot), None)
        if result:
            rows.append([figure, number(result.median), result.unit, f"`{result.command}`"])
        else:
            rows.append([figure, "–", "", "no figure yet"])
    return scaling.table(["cost", "median", "unit", "command"], rows)


def times(results: list[Result]) -> str:
    """The processor time of each process, and what it says about the ratios."""
    by_command = defaultdict(lambda: defaultdict(dict))
    for result in results:
        found = re.fullmatch("processor time of (.*), (.*)", result.figure)
        if found and not result.plot:
            by_command[result.command][found[1]][found[2]] = result.median
    parts = []
    for command, kinds in by_command.items():
        names = list(dict.fromkeys(name for of_kind in kinds.values() for name in of_kind))
        rows = []
        for kind, of_kind in kinds.items():
            of_kind["all"] = sum(time for name, time in of_kind.items() if not name.endswith("in the kernel"))
            rows.append([kind, *(number(of_kind[name]) if name in of_kind else "–" for name in [*names, "all"])])
        part = f"`{command}`\n\n{scaling.table(['µs of each event', *names, 'all'], rows)}"
        parts.append("\n\n".join([part, *bounds(kinds)]))
    return "\n\n".join(parts) or "There are no figures yet."


def bounds(kinds: dict[str, dict[str, float]]) -> list[str]:
    """The ratios by processor time, and those with a program that takes no more of it than the baseline."""
    found = []
    for kind, of_kind in kinds.items():
        if re.fullmatch(r"POST /track \(\w+\)", kind):
            baseline, part = "bare hyper", "server"
        elif kind == "the drain":
            baseline, part = "raw inserts", "worker"
        else:
            continue
        if of_baseline := kinds.get(baseline):
            least = of_kind["all"] - of_kind[part] + of_baseline[part]
            now, best = (number(of_baseline["all"] / time) for time in (of_kind["all"], least))
            found.append(
                f"By processor time, {kind} is at {now} of {baseline}; with a {part} as cheap as in {baseline}, it would be "
                f"at {best}."
            )
    return found


def all_figures(results: list[Result]) -> str:
    commands = defaultdict(list)
    for result in results:
        if not result.plot:
            commands[result.command].append(result)
    parts = []
    for command, measured in commands.items():
        rows = [
            [r.figure, number(r.median), number(min(r.values)), number(max(r.values)), str(len(r.values)), r.unit]
            for r in measured
        ]
        head = ["figure", "median", "minimum", "maximum", "rounds", "unit"]
        parts.append(f"`{command}`\n\n{scaling.table(head, rows)}")
    return "\n\n".join(parts) or "There are none yet."


def series(results: list[Result], unit: str) -> dict[str, list[tuple[float, float]]]:
    """The points of each figure of a panel. What several commands measured is one point."""
    points = defaultdict(lambda: defaultdict(list))
    for result in results:
        if result.unit == unit:
            points[result.figure][result.x].extend(result.values)
    return {
        figure: [(x, statistics.median(values)) for x, values in sorted(by_x.items())]
        for figure, by_x in points.items()
    }


def sentence(key: tuple[str, str], results: list[Result]) -> str:
    """What a plot shows, from its data."""
    clauses = []
    for unit in PANELS:
        panel = series(results, unit)
        if not panel:
            continue
        subject = SUBJECTS.get(key, {}).get(unit)
        figure = subject if subject in panel else next(iter(panel))
        points = panel[figure]
        (first, start), (last, end) = points[0], points[-1]
        clause = f"{figure} goes from {number(start)} {unit} at {first:,.0f} to {number(end)} at {last:,.0f}"
        best = max if unit == "events/s" else min
        x, y = best(points, key=lambda point: point[1])
        if x not in (first, last):
            clause += f", and is best at {x:,.0f} with {number(y)}"
        clauses.append(clause)
    return f"Against `--{key[1]}`: " + "; ".join(clauses) + "."


def draw(key: tuple[str, str], results: list[Result], file: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "bklit-tui", "svg.fonttype": "none", "font.size": 8}
    from matplotlib import pyplot

    panels = [(unit, panel) for unit in PANELS if (panel := series(results, unit))]
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.5 * len(panels), 3.6), squeeze=False)
    for axis, (unit, panel) in zip(axes[0], panels):
        for name, points in panel.items():
            axis.plot(*zip(*points), marker="o", markersize=3, label=name)
        places = sorted({x for points in panel.values() for x, _ in points})
        if places[-1] > 10 * places[0]:
            axis.set_xscale("log")
        axis.set_xticks(places, [f"{x:,.0f}" for x in places], rotation=45)
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.12g}"))
        axis.set_title(unit)
        axis.set_xlabel(f"--{key[1]}")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def plots(results: list[Result], folder: pathlib.Path) -> str:
    """Draws the plots anew, and returns their part of the text."""
    shutil.rmtree(folder / "plots", ignore_errors=True)
    by_plot = defaultdict(list)
    for result in results:
        if result.plot and result.unit in PANELS:
            by_plot[result.bench, result.plot].append(result)
    parts = []
    for key, of_plot in by_plot.items():
        (folder / "plots").mkdir(parents=True, exist_ok=True)
        name = f"{key[0]}-{key[1]}.svg"
        draw(key, of_plot, folder / "plots" / name)
        parts.append(f"### {key[0]}: {key[1]}\n\n{sentence(key, of_plot)}\n\n![{key[0]}: figures against --{key[1]}](plots/{name})")
    return "\n\n".join(parts) or "There are none yet."


def document(about: dict, results: list[Result], folder: pathlib.Path) -> str:
    results = results + two_processes(results)
    quick = "**A trial run with tiny numbers, which mean nothing.**\n\n" if about.get("quick") else ""
    rows = [[name, str(value)] for name, value in about.items() if name != "quick" and value]
    run = scaling.table(["what", "value"], rows) if rows else "`bench/run.sh` has not been run yet."
    cost = costs(about, results)
    try:
        scaled = scaling.section(f"\n{scaling.HEADING}\n\n{cost}\n")
    except scaling.Missing as missing:
        scaled = f"Not calculated: {missing}."
    parts = [
        "# Results",
        f"{quick}Written by `bench/run.sh`; do not edit. [README.md](README.md) explains what is measured,\n"
        "[NOTES.md](NOTES.md) has earlier measurements, what was tried, and the results of the fault test.",
        f"## Machine\n\n{run}",
        f"## Targets\n\n{targets(results)}",
        "## Where the time goes\n\nProcessor time of each process. What was tried to reduce it is in "
        f"[NOTES.md](NOTES.md).\n\n{times(results)}",
        f"{scaling.HEADING}\n\nOf a page view; see [docs/scaling.md](../docs/scaling.md).\n\n{cost}",
        f"## Scaling\n\nCalculated by `bench/scaling.py` from the costs above.\n\n{scaled}",
        f"## Plots\n\n{plots(results, folder)}",
        f"## All figures\n\n{all_figures(results)}",
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    of_machine = commands.add_parser("machine")
    of_machine.add_argument("file", type=pathlib.Path)
    of_machine.add_argument("--quick", action="store_true")
    write = commands.add_parser("write")
    write.add_argument("file", type=pathlib.Path)
    write.add_argument("folder", type=pathlib.Path)
    options = parser.parse_args()
    if options.command == "machine":
        with options.file.open("a", encoding="utf-8") as file:
            print(json.dumps({"machine": machine(options.quick)}), file=file)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    text = document(*read(options.file), options.folder)
    (options.folder / "RESULTS.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
