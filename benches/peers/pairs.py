"""How a row is measured: processes that answer requests, pairs of runs in turns, what is kept of them.

Each side is a process of its own that loads inputs first and then answers with the seconds of the kernel alone. A row's
sides run one after the other, never at once.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import numpy as np

HERE = Path(__file__).resolve().parent


class Late(Exception):
    """A side was not done in its time."""


def environment(threads):
    """The same number of threads for whatever counts them, each library otherwise by its own defaults."""
    names = ["RAYON", "OMP", "MKL", "OPENBLAS", "NUMEXPR"]
    # A fixed kind of core, as some machines set for old releases, would slow the others down.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    return kept | {f"{name}_NUM_THREADS": str(threads) for name in names}


class Child:
    """A process that answers one line of JSON with another."""

    def __init__(self, command, where):
        log = where.folder / "log.txt"
        self.log = log.open("a")
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            cwd=where.root, env=environment(where.args.threads))
        self.name = f"{command[-1]}, log {log}"

    def ask(self, limit=None, **request):
        self.process.stdin.write((json.dumps(request, default=str) + "\n").encode())
        self.process.stdin.flush()
        if limit and not select.select([self.process.stdout], [], [], limit)[0]:
            self.process.kill()
            self.process.wait()
            raise Late
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: ended while it was asked for {request['kernel']}")
        return json.loads(line)

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # It has ended by itself.
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


class Context:
    """What all rows share."""

    def __init__(self, args, root, target):
        self.args, self.root, self.target = args, root, target
        self.quick = args.quick
        self.folder = target / ("peers-quick" if args.quick else "peers")
        self.inputs, self.saved = self.folder / "inputs", self.folder / "saved"
        for folder in (self.inputs, self.saved):
            folder.mkdir(parents=True, exist_ok=True)
        data = os.environ.get("DMAD_DATA")
        self.data = Path(data).resolve() if data else None
        self.ours = self.program = self.binary = None

    def build(self):
        """Builds our side and starts it."""
        config = [word for text in self.args.config for word in ("--config", text)]
        command = ["cargo", *config, "bench", "--bench", "peers", "--no-run", "--message-format", "json"]
        built = subprocess.run(command, cwd=self.root, stdout=subprocess.PIPE, text=True, check=True)
        messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
        binary = next(m["executable"] for m in messages
                      if m.get("executable") and m["target"]["name"] == "peers" and "bench" in m["target"]["kind"])
        self.binary = binary
        self.restart()
        self.program = Path(self.ours.ask(kernel="hello")["program"])

    def restart(self):
        """Our side anew, so that what it holds is the memory of one row."""
        if self.ours:
            self.ours.close()
        self.ours = Child([self.binary, "--bench"], self)

    def peer(self, family):
        return Child([sys.executable, HERE / "peer.py", family], self)

    def drawn(self, name, kernel, settings, inputs=None):
        """A file or folder of inputs that our side draws, once for all."""
        place = self.inputs / name
        if not place.exists():
            new = self.inputs / f"new-{name}"
            shutil.rmtree(new, ignore_errors=True)
            if not place.suffix:
                new.mkdir()
            self.ours.ask(kernel=kernel, settings=settings, inputs=inputs or {}, out=new)
            new.rename(place)
        return place

    def rows(self, kind, rows, cols, index):
        settings = {"kind": kind, "rows": rows, "cols": cols, "index": index}
        return self.drawn(f"{kind}_{rows}x{cols}_{index}.npy", "draw_rows", settings)

    def close(self):
        self.ours.close()


def load(answer):
    """The arrays that a side has answered with."""
    return {name: np.load(path) for name, path in answer["out"].items()}


@dataclass
class Peer:
    """Another program beside ours."""

    label: str
    kernel: str
    family: str
    # Names the packages whose versions stand in the table.
    packages: list
    settings: dict = field(default_factory=dict)
    # Compares the arrays of both sides: a sentence.
    check: Callable = None
    # Not done after so many times our seconds, and two minutes: given up.
    patience: float = None


@dataclass
class Row:
    """One piece of work, done by our program and by others."""

    name: str
    work: str
    kernel: str
    # Makes the inputs: names and files.
    prepare: Callable
    peers: list
    settings: dict = field(default_factory=dict)
    missing: str = None

    def measure(self, where):
        if self.missing:
            print(f"{self.name}: left out, {self.missing}", file=sys.stderr)
            return
        inputs = {name: str(path) for name, path in self.prepare(where).items()}
        if where.args.draw:
            return
        where.restart()
        self.held = 0.0
        for peer in self.peers:
            try:
                result = self.beside(where, peer, inputs)
            except Exception as fault:
                result = {"failed": str(fault) or type(fault).__name__}
                print(f"{self.name} beside {peer.label}: {result['failed']}", file=sys.stderr)
            result |= {"row": self.name, "work": self.work, "peer": peer.label, "packages": versions(peer.packages),
                       "threads": where.args.threads, "made": time.strftime("%Y-%m-%d %H:%M")}
            save(where, self.name, peer.label, result)

    def ask_ours(self, where, inputs, out):
        return where.ours.ask(kernel=self.kernel, inputs=inputs, settings=self.settings, out=out)

    def own(self, where, inputs, out):
        answer = self.ask_ours(where, inputs, out)
        # Later runs may use what an earlier one has given back to the allocator: the most of all is what one takes.
        self.held = max(self.held, answer["peak_mb"] - answer["before_mb"])
        return answer

    def beside(self, where, peer, inputs):
        began = time.monotonic()
        outs = {side: where.folder / "out" / side for side in ("ours", "other")}
        own = self.own(where, inputs, outs["ours"])
        child = where.peer(peer.family)
        ask = lambda limit=None: child.ask(limit, kernel=peer.kernel, inputs=inputs, out=str(outs["other"]),
                                           settings=self.settings | peer.settings)
        limit = peer.patience and max(120.0, peer.patience * own["wall"])
        try:
            # The first run of each side is not counted: it fills caches and starts threads.
            other = ask(limit)
            checked = peer.check(load(own), load(other), inputs) if peer.check else ""
            taken = time.monotonic() - began
            left = (where.args.seconds - taken) / max(own["wall"] + other["wall"], 1e-9)
            pairs = [(own, other)] if left < 1 else []
            for _ in range(min(where.args.pairs, int(left))):
                time.sleep(0.1)  # threads that spin while they wait have stopped by then
                first = self.own(where, inputs, outs["ours"])
                time.sleep(0.1)
                pairs.append((first, ask()))
                report(self, peer, pairs[-1])
        except Late:
            return {"late": limit, "pairs": [[brief(own), None]], "checked": "", "held_mb": [self.held, None]}
        finally:
            child.close()
            shutil.rmtree(where.folder / "out", ignore_errors=True)
        held = max(answer["peak_mb"] - answer["before_mb"] for answer in (other, *(pair[1] for pair in pairs)))
        return {"pairs": [[brief(a), brief(b)] for a, b in pairs], "checked": checked, "cold": left < 1,
                "held_mb": [self.held, held]}


def brief(answer):
    return {name: answer[name] for name in ("cpu", "wall")}


def report(row, peer, pair):
    sides = " | ".join(f"{side['wall']:.3f} s, cpu {side['cpu']:.3f} s" for side in pair)
    print(f"{row.name} | {peer.label} | {sides}", file=sys.stderr)


def save(where, row, label, result):
    safe = "".join(letter if letter.isalnum() else "_" for letter in f"{row}-{label}")
    (where.saved / f"{safe}.json").write_text(json.dumps(result, indent=1))


def versions(packages):
    from importlib.metadata import version

    return {name: version(name) for name in packages}
