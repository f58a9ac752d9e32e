"""How seconds and memory of our kernels grow: with rows, picks, columns, images, and runs of a study.

A table of its own, without other programs: `--only growth`. An exponent of 1 is proportional; it is the slope of a straight
line through the logarithms of all sizes.
"""

import json
import shutil
import statistics
import sys

import numpy as np

from study import watched
from table import short

REPEATS = 3

DATASETS = """
[dataset.drawn]
layout = "synthetic"
classes = ["wood"]
seed = 0
side = 256
train = {train}
test_good = 8
test_per_defect = 2
"""

STUDY = """
title = "Growth"
dataset = "drawn"
seeds = {seeds}
metrics = ["image_auroc", "pixel_auroc", "pixel_pro"]
image.size = 256
backbone = {{ name = "efficientnet_lite0", layers = ["stride8", "stride16"] }}
features.aggregation = "concat"

[method]
name = "dmad"
bank.normal = {{ ratio = 0.02, projection = 0 }}
bank.outlier.enabled = false
mlp = {{ hidden = 64, blocks = 2 }}
train = {{ epochs = 4, patches_per_image = 64 }}
"""


class Growth:
    """One kernel at several sizes."""

    missing = None

    def __init__(self, name, work, unit, sizes, run):
        self.name, self.work, self.unit, self.sizes, self.run = f"growth_{name}", f"growth: {work}", unit, sizes, run
        self.label = work

    def file(self, where):
        return where.saved / f"{self.name}.json"

    def measure(self, where):
        found = []
        for size in self.sizes:
            ask = self.run(where, size)
            if where.args.draw:
                continue
            where.restart()  # so that memory is that of this size
            first = ask()  # fills caches
            answers = [ask() for _ in range(REPEATS)]
            median = lambda name: statistics.median(answer[name] for answer in answers)
            held = max(answer["peak_mb"] - answer["before_mb"] for answer in (first, *answers))
            found.append({"wall": median("wall"), "cpu": median("cpu"), "held_mb": held})
            print(f"{self.name} at {size}: {found[-1]}", file=sys.stderr)
        if where.args.draw:
            return
        result = {"row": self.name, "label": self.label, "growth": self.sizes, "found": found, "packages": {}, "threads": where.args.threads}
        self.file(where).write_text(json.dumps(result, indent=1))

    def line(self, where):
        if not self.file(where).exists():
            return None
        saved = json.loads(self.file(where).read_text())
        sizes, found = saved["growth"], saved["found"]
        of = lambda name: [one[name] for one in found]
        exponent = lambda values: np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-6)), 1)[0]
        # Where inputs are not loaded apart from the work (studies), all memory is the work's.
        memory = of("held_mb")
        cells = [saved["label"], " / ".join(f"{size:,}" for size in sizes) + f" {self.unit}",
                 " / ".join(map(short, of("wall"))), f"**{exponent(of('wall')):.2f}**", " / ".join(map(short, of("cpu"))),
                 f"{exponent(of('cpu')):.2f}", " / ".join(map(short, memory)),
                 f"{exponent(memory):.2f}" if min(memory) >= 1 else "–"]
        return "| " + " | ".join(cells) + " |"


def table(where, rows):
    """The table of those that were measured."""
    lines = [line for row in rows if (line := row.line(where))]
    head = ["what grows", "sizes", "s", "exponent", "CPU s", "exponent", "MB beyond inputs", "exponent"]
    top = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head))]
    return "\n".join([f"Growth, medians of {REPEATS}:", "", *top, *lines]) if lines else ""


def kernel(name, inputs, settings):
    """A run of one of our kernels for a size."""

    def run(where, size):
        files = {key: str(path) for key, path in inputs(where, size).items()}
        return lambda: where.ours.ask(kernel=name, inputs=files, settings=settings(size))

    return run


def of_rows(count, cols):
    return lambda where, size: {"rows": where.rows("correlated", count or size, cols or size, 4)}


def of_banks(bank, cols):
    return lambda where, size: {"queries": where.rows("correlated", 4096, cols or size, 5),
                                "bank": where.rows("correlated", bank or size, cols or size, 6)}


def of_maps(side):
    def inputs(where, size):
        folder = where.drawn(f"maps_{side}_{size}", "draw_maps", {"side": side, "images": size})
        return {"maps": folder / "maps.npy", "masks": folder / "masks.npy"}

    return inputs


def study(seeds_of, train_of, command):
    """The program itself on drawn images; a `report` follows a run that is not counted."""

    def run(where, size):
        folder = where.folder / "growth"

        def ask():
            if command == "run" or not (folder / f"done-{size}").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                (folder / "datasets.toml").write_text(DATASETS.format(train=train_of(size)))
                (folder / "study.toml").write_text(STUDY.format(seeds=list(range(seeds_of(size)))))
                answer = watched([where.program, "run", "study.toml", "--threads", where.args.threads], folder, where)
                (folder / f"done-{size}").touch()
                if command == "run":
                    return answer
            return watched([where.program, command, "study.toml", "--threads", where.args.threads], folder, where)

        return ask

    return run


def rows(where):
    quick = where.quick
    grow = lambda first, count=4: [first * 2**step for step in range(2 if quick else count)]
    base = 500 if quick else 25_000
    picks = lambda count: lambda size: {"count": count or size, "start": 0, "projection": 0}
    nothing = lambda size: {}
    return [
        Growth("coreset_rows", "coreset of 500 picks, 256 columns, with rows", "rows", grow(base),
               kernel("coreset", of_rows(0, 256), picks(50 if quick else 500))),
        Growth("coreset_picks", f"coreset of {2 * base:,} rows of 256, with picks", "picks", grow(25 if quick else 125),
               kernel("coreset", of_rows(2 * base, 256), picks(0))),
        Growth("coreset_columns", f"coreset, 500 picks of {2 * base:,} rows, with columns", "columns", grow(192),
               kernel("coreset", of_rows(2 * base, 0), picks(50 if quick else 500))),
        Growth("neighbours_rows", "nearest for 4,096 rows of 512, with the bank's rows", "rows", grow(base // 5),
               kernel("neighbours", of_banks(0, 512), nothing)),
        Growth("neighbours_columns", f"nearest for 4,096 rows in {base // 2:,}, with columns", "columns", grow(192),
               kernel("neighbours", of_banks(base // 2, 0), nothing)),
        Growth("metrics_images", "seven metrics of maps of 512², with images", "images", [10, 20, 40, 80][: 2 if quick else 4],
               kernel("metrics", of_maps(64 if quick else 512), nothing)),
        Growth("study_images", "a run of DMAD on drawn images, 4 epochs, with training images", "images", grow(32),
               study(lambda size: 1, lambda size: size, "run")),
        Growth("study_runs", "a study of so many recorded runs (seeds), from nothing", "runs", grow(1, 5),
               study(lambda size: size, lambda size: 32, "run")),
        Growth("study_report", "`dmad report` of so many recorded runs", "runs", grow(1, 5),
              study(lambda size: size, lambda size: 32, "report")),
    ]
