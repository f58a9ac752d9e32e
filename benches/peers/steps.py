"""Training steps beside PyTorch's: what `cargo bench --bench training` measures, with these rows in the table."""

import os
import re
import subprocess
import sys

from pairs import environment, save, versions

LINE = re.compile(r"(\w+): (\d+) ms a step, PyTorch (\d+) ms; ratio of pairs ([\d.]+)(?: \(([\d.]+) to ([\d.]+)\))?")
WORK = {
    "dmad_1536": "a step of DMAD, 4,096 patches of 1,536, hidden 1,024",
    "dmad_152": "a step of DMAD, 2,048 patches of 152, hidden 256",
    "dra": "a step of DRA, ResNet-18, 29 images of 128²",
    "bgad_40": "a step of BGAD, 4,096 places of 40 channels",
    "bgad_200": "a step of BGAD, 4,096 places of 200 channels",
}


class Steps:
    """One run of the benchmark: weights, batches and losses are the same on both sides, drawn."""

    missing = None

    def __init__(self, name):
        self.bench, self.name, self.work = name, f"steps_{name}", WORK[name]

    def measure(self, where):
        if where.args.draw:
            return
        config = [word for text in where.args.config for word in ("--config", text)]
        command = ["cargo", *config, "bench", "--bench", "training", "--", self.bench]
        env = environment(where.args.threads) | {"DMAD_PYTHON": sys.executable}
        ran = subprocess.run(command, cwd=where.root, env=env, stdout=subprocess.PIPE, text=True)
        found = LINE.search(ran.stdout)
        if not found:
            print(f"{self.name}: the benchmark printed no result\n{ran.stdout}", file=sys.stderr)
            return
        _, own, other, ratio, low, high = found.groups()
        print(found.group(0), file=sys.stderr)
        result = {"row": self.name, "work": self.work, "peer": "PyTorch", "packages": versions(["torch"]),
                  "threads": where.args.threads, "medians": [int(own) / 1e3, int(other) / 1e3],
                  "ratio": 1 / float(ratio), "range": [1 / float(high), 1 / float(low)] if low else None,
                  "checked": "by tests, not here (tests/it/oracle_*_step.rs)"}
        save(where, self.name, "PyTorch", result)


def rows(where):
    # "bgad_40" is no part of another name; the benchmark takes parts.
    return [Steps(name) for name in WORK]
