"""Tests of report.py and scaling.py with made-up results: python3 -m unittest discover bench"""

import importlib.util
import json
import pathlib
import tempfile
import unittest

import report
import scaling


def record(figure: str, *values: float, bench: str = "worker", options: str = "--rounds 3", **more) -> str:
    line = {"bench": bench, "options": options, "figure": figure, "unit": "ratio", "plot": None, "values": values}
    return json.dumps(line | more)


def costs() -> list[str]:
    """Intake 20 and 5, worker 5 and 1, ClickHouse 9 µs: 40 in all."""
    processors = [20, 5, 5, 1, 9]
    of_bytes = [1000, 1500, 1200, 1100, 400, 250]
    units = ["µs/event"] * len(processors) + ["bytes/event"] * len(of_bytes)
    return [
        record(figure, value, unit=unit)
        for figure, value, unit in zip(scaling.COSTS.values(), processors + of_bytes, units, strict=True)
    ]


class Report(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def document(self, *lines: str) -> str:
        file = self.folder / "results.jsonl"
        machine = json.dumps({"machine": {"cores": 2, "commit": "abc", "quick": False}})
        file.write_text("\n".join([machine, *lines]), encoding="utf-8")
        return report.document(*report.read(file), self.folder)

    def test_medians_are_compared_with_targets(self):
        text = self.document(
            record("drain to raw insert", 0.9, 0.61, 0.2),
            record("drain to unsafe drain", 0.74),
            record("p99 of POST /track, half the rate (Redis)", 9.5, 10.5, unit="ms"),
            record("filter checkout to ripgrep", 0.8),
            record("filter how.*count to ripgrep", 0.8),
        )
        command = "`cargo bench --bench worker -- --rounds 3`"
        rows = [
            f"| drain to raw insert | at least 0.6 | 0.61 | 0.2 to 0.9 | yes | {command} |",
            f"| drain to unsafe drain | at least 0.75 | 0.74 | 0.74 to 0.74 | **no** | {command} |",
            f"| p99 of POST /track, half the rate (Redis) | at most 10 ms | 10 ms | 9.5 to 10.5 | yes | {command} |",
            f"| filter checkout to ripgrep | at most 0.7 | 0.8 | 0.8 to 0.8 | **no** | {command} |",
            f"| filter how.*count to ripgrep | at most 1 | 0.8 | 0.8 to 0.8 | yes | {command} |",
            "| embedded drain to prepared inserts | at least 0.5 | – |  |  | no figure yet |",
        ]
        for row in rows:
            self.assertIn(row, text)

    def test_two_processes_are_compared_with_one_of_the_same_options(self):
        text = self.document(
            record("drain", 40_000, unit="events/s", options="--mixed"),
            record("drain", 50_000, unit="events/s"),
            record("drain", 45_000, 60_000, 55_000, unit="events/s", options="--rounds 3 --processes 2"),
        )
        self.assertIn("| drain, two processes to one | at least 1 | 1.1 | 0.9 to 1.2 | yes |", text)

    def test_points_of_plots_are_not_results(self):
        text = self.document(record("drain to raw insert", 0.9, plot="batch", options="--batch 100"))
        self.assertIn("| drain to raw insert | at least 0.6 | – |", text)
        self.assertNotIn("--batch 100", text)

    def test_a_sentence_comes_from_the_points(self):
        points = [
            report.Result("track", f"--connections {x}", "POST /track (Redis)", "events/s", "connections", (y,))
            for x, y in [(1024, 30_000), (1, 5_000), (64, 40_000)]
        ]
        self.assertEqual(
            report.sentence(("track", "connections"), points),
            "Against `--connections`: POST /track (Redis) goes from 5,000 events/s at 1 to 30,000 at 1,024, "
            "and is best at 64 with 40,000.",
        )

    @unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")
    def test_plots_are_drawn(self):
        text = self.document(
            record("drain", 20_000, unit="events/s", plot="batch", options="--batch 100"),
            record("drain", 60_000, unit="events/s", plot="batch", options="--batch 50000"),
        )
        self.assertIn("![worker: figures against --batch](plots/worker-batch.svg)", text)
        self.assertIn("<svg", (self.folder / "plots/worker-batch.svg").read_text(encoding="utf-8"))

    def test_where_the_time_goes_says_what_could_be_reached(self):
        times = {
            "bare hyper": {"bench": 20, "server": 10, "server in the kernel": 8},
            "POST /track (Redis)": {"bench": 25, "server": 40, "server in the kernel": 15, "Redis": 10},
        }
        text = self.document(
            *(
                record(f"processor time of {kind}, {part}", time, bench="track", unit="µs/event")
                for kind, parts in times.items()
                for part, time in parts.items()
            )
        )
        self.assertIn("| bare hyper | 20 | 10 | 8 | – | 30 |", text)
        self.assertIn("| POST /track (Redis) | 25 | 40 | 15 | 10 | 75 |", text)
        self.assertIn(
            "By processor time, POST /track (Redis) is at 0.4 of bare hyper; with a server as cheap as in bare hyper, "
            "it would be at 0.667.",
            text,
        )

    def test_scaling_reads_what_the_report_writes(self):
        text = self.document(*costs())
        plan = scaling.default_plan()
        cost = scaling.read(text)
        self.assertEqual((cost["cores"], cost["intake"], cost["disk"]), (2, 20, 250))
        # 60 % of two cores, at 40 µs an event.
        self.assertEqual(scaling.one_machine(cost, plan), 30_000)
        self.assertEqual(scaling.limits(cost, plan)["one core of Redis (a list)"], 100_000)
        self.assertIn("## Scaling", text)
        self.assertIn("|  | 10× | 100× | 1,000× |", text)
        self.assertIn("| events a second | 300,000 | 3,000,000 | 30,000,000 |", text)

    def test_needs_follow_from_costs(self):
        plan = scaling.default_plan()
        need = scaling.needs(300_000, scaling.read(self.document(*costs())), plan)
        self.assertEqual(need["intake, busy cores"], "6")
        self.assertEqual(need["Redis, lists"], "3")
        self.assertEqual(need["Redis, memory of the backlog, GB"], "1,100")
        self.assertEqual(need["ClickHouse, disk a day, GB"], "6,500")
        self.assertEqual(need["network with clients, Gbit/s"], "3.6")
        passed = "memory of a Redis host; one core of Redis (a list)"
        self.assertEqual(need["limits passed, the lowest first"], passed)

    def test_a_missing_figure_is_named(self):
        text = self.document(*costs()[:-1])
        self.assertIn("Not calculated: there is no figure yet for disk of the drain, ClickHouse;", text)
        with self.assertRaises(scaling.Missing):
            scaling.read(text)


if __name__ == "__main__":
    unittest.main()
