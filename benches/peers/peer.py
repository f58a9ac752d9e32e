"""The other side of a comparison: answers requests with the kernels of one family, as `benches/peers.rs` does with ours."""

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np


def processor_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def status_mb(line):
    """A line of this process's status; 0 where there is no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(own.split()[1]) * 1024 / 1e6 for own in lines if own.startswith(line + ":")), 0.0)


def reset_peak():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def main():
    kernels = importlib.import_module(sys.argv[1]).KERNELS
    # Packages print as they like; the answers have the real output for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    threads, known, run = int(os.environ["OMP_NUM_THREADS"]), None, None
    for line in sys.stdin:
        request = json.loads(line)
        out = Path(request.pop("out"))
        if request != known:
            run = None  # before others are loaded
            run = kernels[request["kernel"]](request["inputs"], request["settings"] | {"threads": threads})
            known = request
        reset_peak()
        before, clock, cpu = status_mb("VmRSS"), time.perf_counter(), processor_seconds()
        arrays = run()
        wall, cpu = time.perf_counter() - clock, processor_seconds() - cpu
        peak = status_mb("VmHWM")
        out.mkdir(parents=True, exist_ok=True)
        files = {}
        for name, array in arrays.items():
            files[name] = str(out / f"{name}.npy")
            np.save(files[name], np.asarray(array))
        answers.write(json.dumps({"cpu": cpu, "wall": wall, "peak_mb": peak, "before_mb": before, "out": files}) + "\n")
        answers.flush()


main()
