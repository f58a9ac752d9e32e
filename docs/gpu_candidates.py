#!/usr/bin/env python3
"""How many rows of a bank a device leaves in question, for the bounds of src/bank/filter.rs and real features.

    dmad run experiments/quickstart.toml && python3 docs/gpu_candidates.py .dmad-store       (needs numpy)

Takes 2,000 patches of all features in the store and the largest normal bank of their width. Rows in question are those whose score lies
within twice the bound above the lowest; a device notes at most 16 of them; a query with more is left over.
"""

import json
import pathlib
import struct
import sys

import numpy

SLOTS, QUERIES, UNIT = 16, 2000, 2.0**-24
# How far off a sum of products is, as a share of the lengths of both rows: of n columns, with factors cut to so many bits.
BOUNDS = {
    "f32": lambda n: n * UNIT,
    "TF32": lambda n: 2 * 2.0**-10 + 8 * n * UNIT,
    "bf16 (not offered)": lambda n: 2 * 2.0**-8 + 8 * n * UNIT,
}


def matrix(path):
    """The largest matrix of single precision in a file of the store."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        head = json.loads(file.read(length))
    shapes = {name: entry for name, entry in head.items() if name != "__metadata__" and entry["dtype"] == "F32"}
    found = max(shapes.values(), key=lambda entry: entry["data_offsets"][1] - entry["data_offsets"][0])
    shape = tuple(found["shape"])
    rows = numpy.memmap(path, numpy.float32, "r", 8 + length + found["data_offsets"][0], shape)
    return rows.reshape(-1, shape[-1])


def main(store):
    features = [matrix(path) for path in sorted(store.glob("features/*.safetensors"))]
    banks = [matrix(path) for path in sorted(store.glob("normal_bank/*.safetensors"))]
    banks = [bank for bank in banks if bank.shape[1] == features[0].shape[1]]
    bank = max(banks, key=len).astype(float)
    draws = numpy.random.default_rng(0)
    share = -(-QUERIES // len(features))
    queries = numpy.concatenate([rows[draws.choice(len(rows), share)] for rows in features]).astype(float)
    print(f"{len(queries)} patches of {bank.shape[1]} values, a bank of {len(bank)} rows")
    norms, longest = (queries**2).sum(1), (bank**2).sum(1).max() ** 0.5
    scores = (bank**2).sum(1)[None, :] - 2 * queries @ bank.T
    lowest = scores.min(1)
    print("| bound | median | 99 % | most | left over |")
    print("|---|---|---|---|---|")
    for name, bound in BOUNDS.items():
        width = 2 * 2 * bound(bank.shape[1] + 2) * norms**0.5 * longest
        count = (scores <= (lowest + width)[:, None]).sum(1)
        quantile = lambda share: f"{numpy.quantile(count, share):.0f}"
        print(f"| {name} | {quantile(0.5)} | {quantile(0.99)} | {count.max()} | {100 * (count > SLOTS).mean():.1f} % |")


main(pathlib.Path(sys.argv[1]))
