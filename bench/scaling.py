#!/usr/bin/env python3
"""Calculates what a rate of events needs, from the measured cost of an event.

    bench/scaling.py                          10, 100 and 1,000 times what the measured machine carries
    bench/scaling.py --rate 5000 200000       these rates, in events per second
    bench/scaling.py --host-cores 32 --help

The costs and the number of cores of the measured machine are read from bench/RESULTS.md. Hosts, their
network and how busy they may be are assumptions, which the options change. See docs/scaling.md.
"""

import argparse
import math
import pathlib
import sys
from dataclasses import dataclass

HEADING = "## Cost per event"

# Figures of the benchmarks, as in RESULTS.md.
COSTS = {
    "intake": "processor time of POST /track (Redis), server",
    "push": "processor time of POST /track (Redis), Redis",
    "worker": "processor time of the drain, worker",
    "claim": "processor time of the drain, Redis",
    "store": "processor time of the drain, ClickHouse",
    "memory": "memory in Redis, POST /track (Redis)",
    "client_bytes": "network with clients, POST /track (Redis)",
    "push_bytes": "network with Redis, POST /track (Redis)",
    "claim_bytes": "network of the drain, with Redis",
    "store_bytes": "network of the drain, with ClickHouse",
    "disk": "disk of the drain, ClickHouse",
}


class Missing(Exception):
    """RESULTS.md lacks figures."""


@dataclass
class Plan:
    """What hosts are like, and how they are used."""

    cores: int
    memory: float  # bytes
    network: float  # bytes per second, in each direction
    busy: float  # share of cores and network that is used
    backlog: float  # seconds of events that Redis can hold


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def read(text: str) -> dict[str, float]:
    """The costs, and the number of cores, of a RESULTS.md."""
    section = text.partition(f"\n{HEADING}\n")[2].partition("\n## ")[0]
    rows = [cells(line) for line in section.splitlines() if line.startswith("| ")]
    medians = {row[0]: row[1].replace(",", "") for row in rows}
    found = {}
    for name, figure in [("cores", "cores of the machine"), *COSTS.items()]:
        try:
            found[name] = float(medians[figure])
        except (KeyError, ValueError):
            raise Missing(f"there is no figure yet for {figure}; bench/run.sh measures it") from None
    return found


def limits(cost: dict[str, float], plan: Plan) -> dict[str, float]:
    """Events per second at which one of each is as busy as planned."""
    core = plan.busy * 1e6
    host = core * plan.cores
    network = plan.network * plan.busy
    return {
        "one core of Redis (a list)": core / (cost["push"] + cost["claim"]),
        "memory of a Redis host": plan.memory * plan.busy / (cost["memory"] * plan.backlog),
        "network of a Redis host": network / max(cost["push_bytes"], cost["claim_bytes"]),
        "cores of an intake host": host / cost["intake"],
        "network of an intake host": network / max(cost["client_bytes"], cost["push_bytes"]),
        "cores of a worker host": host / cost["worker"],
        "cores of a ClickHouse node": host / cost["store"],
        "network of a ClickHouse node": network / cost["store_bytes"],
    }


def one_machine(cost: dict[str, float], plan: Plan) -> float:
    """Events per second of the measured machine with everything on it, as busy as planned."""
    total = sum(cost[part] for part in ["intake", "push", "worker", "claim", "store"])
    return plan.busy * cost["cores"] * 1e6 / total


def needs(rate: float, cost: dict[str, float], plan: Plan) -> dict[str, str]:
    """What a rate needs, by name."""
    limit = limits(cost, plan)

    def count(*names: str) -> int:
        return max(math.ceil(rate / limit[name]) for name in names)

    def cores(*parts: str) -> str:
        return amount(rate * sum(cost[part] for part in parts) / 1e6)

    def gigabits(part: str) -> str:
        return amount(rate * cost[part] * 8 / 1e9)

    lists = count("one core of Redis (a list)")
    redis = max(math.ceil(lists / plan.cores), count("memory of a Redis host", "network of a Redis host"))
    reached = sorted((at, name) for name, at in limit.items() if at < rate)
    return {
        "events a second": f"{rate:,.0f}",
        "intake, busy cores": cores("intake"),
        "intake, hosts": f"{count('cores of an intake host', 'network of an intake host'):,}",
        "Redis, busy cores": cores("push", "claim"),
        "Redis, lists": f"{lists:,}",
        "Redis, hosts": f"{redis:,}",
        "Redis, memory of the backlog, GB": amount(rate * cost["memory"] * plan.backlog / 1e9),
        "worker, busy cores": cores("worker"),
        "worker, hosts": f"{count('cores of a worker host'):,}",
        "ClickHouse, busy cores": cores("store"),
        "ClickHouse, nodes": f"{count('cores of a ClickHouse node', 'network of a ClickHouse node'):,}",
        "ClickHouse, disk a day, GB": amount(rate * cost["disk"] * 86_400 / 1e9),
        "network with clients, Gbit/s": gigabits("client_bytes"),
        "network of Redis, Gbit/s": gigabits("push_bytes") + " + " + gigabits("claim_bytes"),
        "network with ClickHouse, Gbit/s": gigabits("store_bytes"),
        "limits passed, the lowest first": "; ".join(name for _, name in reached) or "none",
    }


def amount(value: float) -> str:
    """Two significant digits are what such a calculation is worth."""
    return f"{float(f'{value:.2g}'):,.12g}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def markdown(cost: dict[str, float], plan: Plan, rates: list[float]) -> str:
    """The assumptions, what each rate needs, and where the limits are."""
    base = one_machine(cost, plan)
    names = [f"{amount(rate / base)}×" for rate in rates]
    columns = [needs(rate, cost, plan) for rate in rates]
    reached = sorted((at, name) for name, at in limits(cost, plan).items())
    return "\n".join(
        [
            f"The measured machine, {plan.busy:.0%} busy, carries {base:,.0f} events a second from the client to "
            f"ClickHouse; this is 1×. Hosts have {plan.cores} cores, {plan.memory / 1e9:,.0f} GB of memory and "
            f"{plan.network * 8 / 1e9:g} Gbit/s in each direction, of which {plan.busy:.0%} is used. Redis can "
            f"hold the events of {plan.backlog / 3600:g} h. Nothing is replicated.",
            "",
            table(["", *names], [[name, *(column[name] for column in columns)] for name in columns[0]]),
            "",
            "Where one of each reaches its limit:",
            "",
            table(["limit", "events a second"], [[name, f"{at:,.0f}"] for at, name in reached]),
        ]
    )


def default_plan() -> Plan:
    return Plan(cores=16, memory=64e9, network=10e9 / 8, busy=0.6, backlog=3600)


def section(text: str) -> str:
    """The calculation for 10, 100 and 1,000 times the measured machine, from a RESULTS.md."""
    cost, plan = read(text), default_plan()
    base = one_machine(cost, plan)
    return markdown(cost, plan, [base * times for times in (10, 100, 1000)])


def arguments() -> argparse.Namespace:
    plan = default_plan()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    results = pathlib.Path(__file__).with_name("RESULTS.md")
    parser.add_argument("--results", type=pathlib.Path, default=results, metavar="FILE")
    parser.add_argument("--rate", type=float, nargs="+", metavar="N", help="events per second")
    parser.add_argument("--times", type=float, nargs="+", default=[10, 100, 1000], metavar="N",
                        help="without --rate: multiples of the measured machine (default: 10 100 1000)")
    parser.add_argument("--host-cores", type=int, default=plan.cores, help="default: %(default)s")
    parser.add_argument("--host-memory", type=float, default=plan.memory / 1e9, help="GB; default: %(default)s")
    parser.add_argument("--host-network", type=float, default=plan.network * 8 / 1e9,
                        help="Gbit/s in each direction; default: %(default)s")
    parser.add_argument("--busy", type=float, default=plan.busy,
                        help="share of cores, memory and network to use; default: %(default)s")
    parser.add_argument("--backlog", type=float, default=plan.backlog / 3600,
                        help="hours of events that Redis can hold; default: %(default)s")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    plan = Plan(options.host_cores, options.host_memory * 1e9, options.host_network * 1e9 / 8,
                options.busy, options.backlog * 3600)
    try:
        cost = read(options.results.read_text(encoding="utf-8"))
    except (Missing, OSError) as error:
        sys.exit(f"scaling.py: {error}")
    rates = options.rate or [one_machine(cost, plan) * times for times in options.times]
    print(markdown(cost, plan, rates))


if __name__ == "__main__":
    main()
