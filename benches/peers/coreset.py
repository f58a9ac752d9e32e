"""Greedy coresets, beside anomalib's and a plain one in PyTorch."""

import numpy as np

from pairs import Peer, Row


def plain(inputs, settings):
    """The textbook algorithm: one product of the rows with the last pick at every step."""
    import torch

    torch.set_num_threads(settings["threads"])
    rows, count = torch.from_numpy(np.load(inputs["rows"])), settings["count"]

    def run():
        norms = (rows * rows).sum(1)
        nearest = torch.full_like(norms, float("inf"))
        picks = [settings["start"]]
        while len(picks) < count:
            last = rows[picks[-1]]
            torch.minimum(nearest, norms - 2 * (rows @ last) + norms[picks[-1]], out=nearest)
            picks.append(int(nearest.argmax()))
        return {"picks": np.array(picks)}

    return run


def anomalib(inputs, settings):
    """As its PatchCore calls it: in 267 projected columns, from a random row."""
    import torch
    from anomalib.models.components import KCenterGreedy

    torch.set_num_threads(settings["threads"])
    rows, count = torch.from_numpy(np.load(inputs["rows"])), settings["count"]

    def run():
        torch.manual_seed(0)
        sampler = KCenterGreedy(embedding=rows, sampling_ratio=(count + 0.5) / len(rows))
        return {"picks": np.array(sampler.select_coreset_idxs())}

    return run


KERNELS = {"plain": plain, "anomalib": anomalib}


def same_picks(ours, other, inputs):
    own, others = ours["picks"].astype(np.int64), other["picks"]
    if np.array_equal(own, others):
        return f"the same {len(own)} picks in the same order"
    first = int(np.argmax(own != others))
    # Where two rows are equally far to single precision either may come first; in double precision only one is farthest.
    rows = np.load(inputs["rows"])
    taken = rows[own[:first]].astype(np.float64)
    reach = lambda row: ((rows[row].astype(np.float64) - taken) ** 2).sum(1).min()
    a, b = reach(own[first]), reach(others[first])
    word = "is farther in double precision too" if a >= b else "is NEARER: a wrong pick"
    return f"the same first {first} of {len(own)} picks; then ours {word} ({a:.6f}, {b:.6f})"


def radius(ours, other, inputs):
    """Covering radii in the rows' own space: the farthest row from its nearest pick."""
    rows = np.load(inputs["rows"])
    norms = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)

    def of(picks):
        nearest = np.full(len(rows), np.inf)
        for pick in np.array_split(picks, max(1, len(picks) // 250)):
            products = rows @ rows[pick].T
            np.minimum(nearest, (norms[:, None] - 2.0 * products + norms[pick]).min(1), out=nearest)
        return np.sqrt(max(nearest.max(), 0.0))

    own, others = of(ours["picks"].astype(np.int64)), of(other["picks"])
    return f"covering radius {own:.3f}, theirs {others:.3f}"


def rows(where):
    shapes = [(2000, 96, 100), (3000, 32, 60)] if where.quick else [(50_000, 1536, 1000), (98_304, 152, 1966)]
    for number, (count, cols, picks) in enumerate(shapes):
        for kind in ("correlated", "isotropic"):
            def prepare(where, kind=kind, count=count, cols=cols):
                return {"rows": where.rows(kind, count, cols, 2)}

            peers = [Peer("PyTorch, one product a pick", "plain", "coreset", ["torch"], check=same_picks)]
            if number == 0 and kind == "correlated":
                peers.append(Peer("anomalib's KCenterGreedy (in 267 projected columns)" if not where.quick else "anomalib",
                                  "anomalib", "coreset", ["anomalib", "torch"], check=radius))
            title = f"greedy coreset, {picks:,} of {count:,} × {cols:,}, {kind} rows"
            settings = {"count": picks, "start": 0, "projection": 0}
            yield Row(f"coreset_{cols}_{kind}", title, "coreset", prepare, peers, settings=settings)
            if len(peers) > 1:
                # anomalib projects before it selects: here ours does so as well.
                columns = 267 if not where.quick else 48
                both = [Peer("anomalib's KCenterGreedy", "anomalib", "coreset", ["anomalib", "torch"], check=radius)]
                yield Row("coreset_projected", f"{title}, both in {columns} projected columns", "coreset", prepare, both,
                          settings=settings | {"projection": columns})
