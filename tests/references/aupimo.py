"""AUPIMO of generated maps by anomalib (`pip install anomalib`): what `tests/it/metrics.rs` compares with.

Prints the mean over anomalous images. The maps are those of `aupimo_maps` there, value by value.
"""

import numpy as np
import torch
from anomalib.metrics.pimo import functional

MASK = (1 << 64) - 1


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def uniforms(seed, stream, count):
    base = mix((seed * 0x9E3779B97F4A7C15 + stream * 0xD1B54A32D192ED03 + 1) & MASK)
    with np.errstate(over="ignore"):
        z = np.uint64(base) + np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / (1 << 24)


SIDE, NORMALS, ANOMALIES = 256, 20, 6
maps, masks = [], []
for k in range(NORMALS + ANOMALIES):
    scores = uniforms(5, k, SIDE * SIDE).reshape(SIDE, SIDE)
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    if k >= NORMALS:
        rank = k - NORMALS
        mask[40 : 60 + 5 * rank, 100:140] = True
        scores = scores + np.where(mask, 0.15 * rank, 0.0)
    # A rising change of scores changes nothing, but equal-width thresholds then lie where rates are small.
    scores = scores.astype(np.float32).astype(np.float64)
    spread = np.where(scores < 0.9995, 0.1 * scores, 0.1 + 1000 * (np.minimum(scores, 1.0005) - 0.9995))
    maps.append(spread)
    masks.append(mask)
maps, masks = torch.tensor(np.stack(maps)), torch.tensor(np.stack(masks))
_, _, _, _, aupimos, _ = functional.aupimo_scores(maps, masks, num_thresholds=300_000, fpr_bounds=(1e-5, 1e-4))
print(aupimos)
print(aupimos.nanmean().item())
