#!/usr/bin/env python3
"""Draws the plots of docs/performance.md from bench/results/*.json into docs/plots.

The same results give the same bytes. Colors follow the reader's light or dark mode.
"""

import json
import math
import pathlib
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent
WIDTH, LEFT, RIGHT = 720, 200, 30
SCENARIOS = {
    "login": "login", "get_post": "get a post", "list_posts": "posts, page 1 of 20", "list_deep": "posts, far page by number",
    "list_cursor": "posts, by cursor", "create_post": "create a post", "like": "like, unlike", "comment": "comment",
    "list_comments": "comments, 20", "followers": "followers, 50", "notifications": "notifications, 20", "mixed": "9 reads to 1 write",
}
STYLE = """
.back { fill: #ffffff } .title { fill: #1f2328; font-weight: 600; font-size: 15px } .note { fill: #59636e; font-size: 12px }
.label { fill: #1f2328; font-size: 13px } .grid { stroke: #d1d9e0 } .range { stroke: #8b949e; stroke-width: 2 }
.c0 { fill: #0969da; stroke: #0969da } .c1 { fill: #57606a; stroke: #57606a } .c2 { fill: #bf8700; stroke: #bf8700 } .c3 { fill: #cf222e; stroke: #cf222e }
text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; stroke: none } polyline { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
.back { fill: #0d1117 } .title, .label { fill: #f0f6fc } .note { fill: #9198a1 } .grid { stroke: #3d444d }
.c0 { fill: #4493f8; stroke: #4493f8 } .c1 { fill: #b1bac4; stroke: #b1bac4 } .c2 { fill: #d29922; stroke: #d29922 } .c3 { fill: #f85149; stroke: #f85149 }
polyline { fill: none } }
"""


class Plot:
    """An SVG document under construction; `height` is that of the area with the data."""

    def __init__(self, title, height, position):
        self.title, self.top, self.height, self.position = title, 72, height, position
        self.parts = [f'<text class="title" x="20" y="28">{escape(title)}</text>']

    def text(self, x, y, text, style="note", anchor="start"):
        self.parts.append(f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>')

    def dot(self, x, y, color, tooltip):
        self.parts.append(f'<circle class="c{color}" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{escape(tooltip)}</title></circle>')

    def line(self, x1, y1, x2, y2, style="grid"):
        self.parts.append(f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def legend(self, names):
        x = 20
        for color, name in enumerate(names):
            self.dot(x + 5, 48, color, name)
            self.text(x + 16, 52, name)
            x += 34 + 6.6 * len(name)

    def vertical_axis(self, ticks, unit):
        """Vertical grid lines at `ticks`, labeled below the data."""
        for tick in ticks:
            x = self.position(tick)
            self.line(x, self.top, x, self.top + self.height)
            self.text(x, self.top + self.height + 18, f"{tick:g}", anchor="middle")
        self.text(WIDTH - RIGHT, self.top + self.height + 38, unit, anchor="end")

    def write(self, name):
        height = self.top + self.height + 52
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">'
                f"<title>{escape(self.title)}</title><style>{STYLE}</style>"
                f'<rect class="back" width="{WIDTH}" height="{height}" rx="8"/>')
        path = ROOT / "docs/plots" / f"{name}.svg"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([head, *self.parts, "</svg>\n"]))


def results(name):
    return json.loads((ROOT / "bench/results" / f"{name}.json").read_text())


def total(row):
    return row["total"] if "total" in row else row["server"] + row["database"]


def linear(most):
    return lambda value: LEFT + value / most * (WIDTH - LEFT - RIGHT)


def logarithmic(least, most):
    return lambda value: LEFT + math.log(value / least) / math.log(most / least) * (WIDTH - LEFT - RIGHT)


def peers():
    """Cost per request beside other servers."""
    data = results("peers")
    plot = Plot("Cost per request beside other servers, less is better (logarithmic)", 30 * len(data["rows"]),
                logarithmic(0.03, 4))
    plot.vertical_axis([0.03, 0.1, 0.3, 1, 3], data["unit"])
    names = {"lean": "minimal actix-web server", "node": "Fastify, Node.js", "fastapi": "FastAPI"}
    plot.legend(["this server", *names.values()])
    for at, row in enumerate(data["rows"]):
        y = plot.top + 30 * at + 15
        plot.text(LEFT - 14, y + 4, SCENARIOS[row["scenario"]], "label", "end")
        costs = [("this server", total(row)), *((names[key], row["peers"][key]) for key in names)]
        plot.line(plot.position(min(cost for _, cost in costs)), y, plot.position(max(cost for _, cost in costs)), y, "range")
        # This server last, on top.
        for color, (name, cost) in reversed(list(enumerate(costs))):
            plot.dot(plot.position(cost), y, color, f"{name}: {cost:.3f}")
    plot.write("peers")


def growth():
    """Cost per request by the size of the database."""
    data = results("growth")
    sizes = sorted({row["posts"] for row in data["rows"]})
    scenarios = list(dict.fromkeys(row["scenario"] for row in data["rows"]))
    plot = Plot("Cost per request by the number of posts, less is better", 30 * len(scenarios), linear(1.0))
    plot.vertical_axis([0, 0.2, 0.4, 0.6, 0.8, 1.0], data["unit"])
    plot.legend([f"{size:,} posts" for size in sizes])
    for at, scenario in enumerate(scenarios):
        y = plot.top + 30 * at + 15
        costs = [next(total(row) for row in data["rows"] if (row["scenario"], row["posts"]) == (scenario, size)) for size in sizes]
        plot.text(LEFT - 14, y + 4, SCENARIOS[scenario], "label", "end")
        plot.line(plot.position(min(costs)), y, plot.position(max(costs)), y, "range")
        for color, (size, cost) in enumerate(zip(sizes, costs)):
            plot.dot(plot.position(cost), y, color, f"{size:,} posts: {cost:.3f}")
    plot.write("growth")


def sockets():
    """Growth of the server's memory by the number of idle sockets."""
    data = results("sockets")
    names = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
    most_sockets, most_mib = max(row["sockets"] for row in data["rows"]), 100
    left = 70
    plot = Plot("Memory of idle sockets", 200, lambda count: left + count / most_sockets * (WIDTH - left - RIGHT))
    plot.vertical_axis(range(0, most_sockets + 1, 1000), "idle sockets")
    height = lambda mib: plot.top + plot.height * (1 - mib / most_mib)
    for mib in range(0, most_mib + 1, 25):
        plot.line(left, height(mib), WIDTH - RIGHT, height(mib))
        plot.text(left - 8, height(mib) + 4, f"{mib} MiB", anchor="end")
    plot.legend(list(names.values()))
    for color, key in enumerate(names):
        rows = [row for row in data["rows"] if row["database"] == key]
        points = [(0, 0), *((row["sockets"], row["sockets"] * row["kib_per_socket"] / 1024) for row in rows)]
        line = " ".join(f"{plot.position(count):.1f},{height(mib):.1f}" for count, mib in points)
        plot.parts.append(f'<polyline class="c{color}" style="fill: none" points="{line}"/>')
        for row, (count, mib) in zip(rows, points[1:]):
            plot.dot(plot.position(count), height(mib), color, f"{count:,} sockets: {mib:.1f} MiB")
            # The upper line has its labels above, the lower one below.
            y = height(mib) + (-12 if color == 0 else 34)
            plot.text(plot.position(count), y, f'{row["kib_per_socket"]} KiB each', anchor="end" if count == most_sockets else "middle")
    plot.write("sockets")


if __name__ == "__main__":
    peers()
    growth()
    sockets()
