"""Draws docs/architecture.svg, the map of the house, from the imports of the sources.

    python docs/architecture.py

A box is a room: a package of src/wheretolook, with the first sentence that it says about itself. An arrow leads from a
room to one that it imports; where a way over other rooms leads there too, it is left out. The lowest row is the
foundation: options and single modules, which every room may import.
"""

import ast
import textwrap
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "wheretolook"
PICTURE = Path(__file__).with_name("architecture.svg")

WIDTH, MARGIN, ROW, HEIGHT, LINE = 1100, 30, 126, 78, 15  # in pixels; a row is a box and the space below it
WIDEST = 240
STYLE = """
    text { font-family: "Helvetica Neue", Helvetica, Arial, sans-serif; fill: #1d2730 }
    .name { font-size: 15px; font-weight: 600 }
    .says { font-size: 11px; fill: #4c5862 }
    .room { fill: #f3f6f8; stroke: #66727c }
    .ground { fill: #e6edf2; stroke: #66727c }
    .way { stroke: #3b8fc4; stroke-width: 1.4; fill: none; marker-end: url(#tip) }
"""
Graph = dict[str, set[str]]


def room_of(path: Path) -> str:
    """The room that a file is in: its package, or "" for the modules of the foundation."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 and parts[0] != "options" else ""


def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, inside of functions too."""
    found = set()
    package = ["wheretolook", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1], node.module or ""] if node.level else [node.module or ""]
            found |= {".".join([*base, alias.name]).replace("..", ".") for alias in node.names}
    return {name for name in found if name.startswith("wheretolook.")}


def rooms() -> Graph:
    """What each room imports, but for itself and the foundation."""
    names = {room_of(path) for path in PACKAGE.rglob("*.py")} - {""}
    graph: Graph = {name: set() for name in sorted(names)}
    for path in PACKAGE.rglob("*.py"):
        if room_of(path):
            graph[room_of(path)] |= {name.split(".")[1] for name in imports(path)} & names - {room_of(path)}
    return graph


def reached(graph: Graph, start: str) -> set[str]:
    """Every room that a room depends on, over others too."""
    return graph[start].union(*(reached(graph, name) for name in graph[start]))


def plain_ways(graph: Graph) -> Graph:
    """The imports without those that a longer way makes plain already."""
    return {
        name: targets - set().union(*(reached(graph, target) for target in targets)) for name, targets in graph.items()
    }


def rows(graph: Graph) -> list[list[str]]:
    """The rooms by their height, lowest first: each stands above all that it imports."""

    def height(name: str) -> int:
        return 1 + max((height(target) for target in graph[name]), default=-1)

    top = max(map(height, graph))
    return [outer_first(graph, [name for name in graph if height(name) == level]) for level in range(top + 1)]


def outer_first(graph: Graph, row: list[str]) -> list[str]:
    """A row's rooms, those that rooms far above import at its right end, where their arrows pass by the others."""
    ways = plain_ways(graph)
    importers = {name: sum(len(reached(graph, room)) for room in graph if name in ways[room]) for name in row}
    return sorted(row, key=lambda name: (importers[name], name))


def sentence(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text())) if path.exists() else None
    return " ".join((text or "").split()).split(". ")[0].rstrip(".").replace("`", "")


def boxes(row: list[str], top: int) -> dict[str, tuple[float, float, float]]:
    """Left edge, upper edge and width of each room of a row."""
    width = min(WIDEST, (WIDTH - 2 * MARGIN + 16) / len(row) - 16)
    left = (WIDTH - len(row) * (width + 16) + 16) / 2
    return {name: (left + position * (width + 16), top, width) for position, name in enumerate(row)}


def drawn_box(kind: str, name: str, says: str, place: tuple[float, float, float]) -> str:
    """One box with its name and what it says of itself."""
    left, top, width = place
    lines = textwrap.wrap(says, int((width - 20) / 6.2))[:3]
    rows = "".join(
        f'<text class="says" x="{left + 10:.0f}" y="{top + 38 + LINE * number:.0f}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    return (
        f'<rect class="{kind}" x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{HEIGHT}" rx="6"/>'
        f'<text class="name" x="{left + 10:.0f}" y="{top + 20:.0f}">{escape(name)}</text>{rows}'
    )


def drawn_way(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    """An arrow from the lower edge of one box to the upper edge of another, from its side where it passes others by."""
    across = end[0] + end[2] / 2
    far = end[1] - start[1] > 1.5 * ROW
    x = start[0] + start[2] if far else min(max(across, start[0] + 20), start[0] + start[2] - 20)
    y = start[1] + (HEIGHT / 2 if far else HEIGHT)
    bend = f"Q {across:.0f} {y:.0f} {across:.0f} {end[1] - 3:.0f}" if far else f"L {across:.0f} {end[1] - 3:.0f}"
    return f'<path class="way" d="M {x:.0f} {y:.0f} {bend}"/>'


def picture() -> str:
    """The whole map as SVG."""
    graph = rooms()
    levels = rows(graph)[::-1]
    places = {}
    for number, row in enumerate(levels):
        places |= boxes(row, MARGIN + ROW * number)
    ground = MARGIN + ROW * len(levels)
    modules = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")
    shapes = [
        drawn_way(places[name], places[target]) for name, to in plain_ways(graph).items() for target in sorted(to)
    ]
    shapes += [
        drawn_box("room", name, sentence(PACKAGE / name / "__init__.py"), place) for name, place in places.items()
    ]
    says = f"{sentence(PACKAGE / 'options' / '__init__.py')}; beside them {', '.join(modules)}"
    shapes.append(drawn_box("ground", "options and foundation", says, (MARGIN, ground, WIDTH - 2 * MARGIN)))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {ground + HEIGHT + MARGIN}">',
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M 0 0 L 8 4 L 0 8 z" fill="#3b8fc4"/></marker></defs>',
            '<rect width="100%" height="100%" fill="white"/>',
            *shapes,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture())
