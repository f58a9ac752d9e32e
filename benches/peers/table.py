"""The table: medians, spread, and the ratio of each pair, from what was saved of each row."""

import json
import os
import platform
import statistics
import sys
from pathlib import Path

HEAD = ["what", "beside", "dmad s", "CPU s", "other s", "CPU s", "other ÷ dmad", "CPU", "MB beyond inputs", "checked"]


def short(value):
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def spread(values):
    middle = short(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({short(min(values))}–{short(max(values))})"


def times(values):
    digits = 0 if min(values) >= 30 else 1 if min(values) >= 3 else 2
    middle = f"**{statistics.median(values):.{digits}f}**"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def line(result):
    start = [result["work"], result["peer"]]
    if "failed" in result:
        return [*start, *["–"] * 7, f"failed: {result['failed']}"]
    if "medians" in result:
        own, other = result["medians"]
        low, high = result["range"] or (None, None)
        ratio = f"**{result['ratio']:.2f}**" + (f" ({low:.2f}–{high:.2f})" if low else "")
        return [*start, short(own), "–", short(other), "–", ratio, "–", "–", result["checked"]]
    own = [pair[0] for pair in result["pairs"]]
    of = lambda sides, name: [side[name] for side in sides]
    left = [*start, spread(of(own, "wall")), short(statistics.median(of(own, "cpu")))]
    memory = [short(held) for held in result["held_mb"]]
    if "late" in result:
        note = f"not done after {result['late']:.0f} s"
        return [*left, note, "–", f"> {result['late'] / own[0]['wall']:.0f}", "–", memory[0], result["checked"]]
    other = [pair[1] for pair in result["pairs"]]
    ratios = lambda name: [b[name] / max(a[name], 1e-9) for a, b in result["pairs"]]
    note = result["checked"] + ("; one run, not warmed up" if result.get("cold") else "")
    if not result.get("cold") and len(other) < 5:
        note += f"; {len(other)} pair" + "s" * (len(other) > 1)
    return [*left, spread(of(other, "wall")), short(statistics.median(of(other, "cpu"))), times(ratios("wall")),
            f"{statistics.median(ratios('cpu')):.2f}", " / ".join(memory), note]


def machine():
    """The processor by its own words, and the widest vectors that it has."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(part.split(":", 1) for part in text.splitlines() if ":" in part)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    flags = fields.get("flags", "").split()
    known = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx512_bf16": "BF16"}
    words = [word for flag, word in known.items() if flag in flags]
    name = fields.get("model name", platform.processor() or platform.machine())
    return f"{os.cpu_count()} cores of {name} ({', '.join(words)})"


def results(where, rows):
    saved = [json.loads(path.read_text()) for path in sorted(where.saved.glob("*.json"))]
    order = {row.name: place for place, row in enumerate(rows)}
    labels = {(row.name, peer.label): place for row in rows for place, peer in enumerate(getattr(row, "peers", []))}
    kept = [result for result in saved if result["row"] in order and "growth" not in result]
    return sorted(kept, key=lambda result: (order[result["row"]], labels.get((result["row"], result["peer"]), 0)))


def render(where, rows):
    import growth  # which imports from here

    found = results(where, rows)
    pieces = [growth.table(where, [row for row in rows if isinstance(row, growth.Growth)])]
    if found:
        packages = {}
        for result in found:
            packages |= result["packages"]
        named = ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))
        threads = sorted({result["threads"] for result in found})
        about = [f"{machine()}, {' and '.join(map(str, threads))} threads for each side.",
                 f"Python {platform.python_version()}, {named}."]
        lines = [HEAD, ["---"] * len(HEAD), *map(line, found)]
        for above, own in reversed(list(zip(lines, lines[1:]))):
            own[0] = "" if own[0] == above[0] else own[0]
        pieces.insert(0, "\n".join([*about, "", *("| " + " | ".join(cells) + " |" for cells in lines)]))
    missing = [f"{row.name}: left out, {row.missing}." for row in rows if row.missing]
    if missing:
        pieces.append("\n".join(missing))
    return "\n\n".join(piece for piece in pieces if piece)
