"""t-SNE of clustered rows, beside openTSNE."""

import numpy as np

from pairs import Peer, Row

PERPLEXITY = 30


def open_tsne(components):
    def prepare(inputs, settings):
        import openTSNE
        from sklearn.decomposition import PCA

        rows = np.load(inputs["rows"])

        def run():
            data = PCA(components, random_state=0).fit_transform(rows) if components else rows
            found = openTSNE.TSNE(perplexity=PERPLEXITY, n_jobs=settings["threads"], random_state=0).fit(data)
            return {"points": np.asarray(found)}

        return run

    return prepare


KERNELS = {"whole": open_tsne(0), "reduced": open_tsne(50)}


def divergence(rows, points):
    """Kullback–Leibler divergence of a layout from the rows, by its definition; 3 · perplexity neighbours, found exactly."""
    rows, points = rows.astype(np.float64), points.astype(np.float64)
    rows = rows - rows.mean(0)  # distances stay, digits are won
    count, kept = len(rows), 3 * PERPLEXITY
    norms = (rows**2).sum(1)
    squared = norms[:, None] - 2 * rows @ rows.T + norms
    np.fill_diagonal(squared, np.inf)
    index = np.argpartition(squared, kept, axis=1)[:, :kept]
    near = np.take_along_axis(squared, index, 1)
    near -= near.min(1, keepdims=True)
    low, high, precision = np.zeros(count), np.full(count, np.inf), np.ones(count)
    for _ in range(200):
        weights = np.exp(-precision[:, None] * near)
        chances = weights / weights.sum(1, keepdims=True)
        surplus = np.log(weights.sum(1)) + precision * (chances * near).sum(1) - np.log(PERPLEXITY)
        low, high = np.where(surplus > 0, precision, low), np.where(surplus > 0, high, precision)
        precision = np.where(np.isfinite(high), (low + np.where(np.isfinite(high), high, 0)) / 2, 2 * precision)
    joint = np.zeros((count, count))
    np.put_along_axis(joint, index, chances, 1)
    joint = (joint + joint.T) / (2 * count)
    spread = (points**2).sum(1)
    closeness = 1 / (1 + np.maximum(spread[:, None] - 2 * points @ points.T + spread, 0))
    np.fill_diagonal(closeness, 0)
    edges = joint > 0
    return float((joint[edges] * np.log(joint[edges] / (closeness[edges] / closeness.sum()))).sum())


def purity(points, clusters=64):
    """Share of the ten nearest points that are of the same cluster."""
    label = (np.arange(len(points), dtype=np.int64) * 2_654_435_761 % 2**32) % clusters
    norms = (points**2).sum(1)
    squared = norms[:, None] - 2 * points @ points.T + norms
    np.fill_diagonal(squared, np.inf)
    near = np.argpartition(squared, 10, axis=1)[:, :10]
    return float((label[near] == label[:, None]).mean())


def compared(ours, other, inputs):
    rows = np.load(inputs["rows"])
    both = [(divergence(rows, side["points"]), purity(side["points"].astype(np.float64))) for side in (ours, other)]
    (own, pure), (others, others_pure) = both
    word = "not worse" if own <= 1.02 * others else "WORSE"
    return f"KL {own:.3f}, theirs {others:.3f} ({word}); neighbours of the same cluster {pure:.3f}, {others_pure:.3f}"


def rows(where):
    count, cols, epochs = (300, 96, 200) if where.quick else (5000, 1536, 1000)

    def prepare(where):
        return {"rows": where.rows("clustered", count, cols, 0)}

    packages = ["openTSNE", "scikit-learn"]
    peers = [
        Peer("openTSNE, its defaults (750 steps)", "whole", "embedding", ["openTSNE"], check=compared),
        Peer("openTSNE behind scikit-learn's PCA to 50", "reduced", "embedding", packages, check=compared),
    ]
    yield Row("embedding", f"t-SNE of {count:,} × {cols:,}, perplexity {PERPLEXITY}, {epochs} steps", "embed", prepare, peers,
              settings={"epochs": epochs, "perplexity": PERPLEXITY})
