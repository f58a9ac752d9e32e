"""The nearest of a bank for many rows, exactly, beside faiss and the products alone."""

import numpy as np

from pairs import Peer, Row


def arrays(inputs):
    return np.load(inputs["queries"]), np.load(inputs["bank"])


def faiss(inputs, settings):
    import faiss

    faiss.omp_set_num_threads(settings["threads"])
    queries, bank = arrays(inputs)
    index = faiss.IndexFlatL2(bank.shape[1])
    index.add(bank)

    def run():
        squared, found = index.search(queries, 1)
        return {"index": found[:, 0], "distance": np.sqrt(np.maximum(squared[:, 0], 0))}

    return run


def torch_products(inputs, settings):
    import torch

    torch.set_num_threads(settings["threads"])
    queries, bank = (torch.from_numpy(array) for array in arrays(inputs))
    out = torch.empty(len(queries), len(bank))

    def run():
        torch.mm(queries, bank.T, out=out)
        return {}

    return run


def numpy_products(inputs, settings):
    queries, bank = arrays(inputs)
    out = np.empty((len(queries), len(bank)), np.float32)

    def run():
        np.matmul(queries, bank.T, out=out)
        return {}

    return run


def torch_search(inputs, settings):
    import torch

    torch.set_num_threads(settings["threads"])
    queries, bank = (torch.from_numpy(array) for array in arrays(inputs))

    def run():
        norms, parts = (bank * bank).sum(1), []
        for block in queries.split(1024):
            parts.append(torch.addmm(norms, block, bank.T, alpha=-2).min(1))
        squared = torch.cat([part.values for part in parts]) + (queries * queries).sum(1)
        return {"index": torch.cat([part.indices for part in parts]).numpy(), "distance": squared.clamp(min=0).sqrt().numpy()}

    return run


KERNELS = {"faiss": faiss, "torch_products": torch_products, "numpy_products": numpy_products, "torch": torch_search}


def same(ours, other, inputs):
    if not other:
        return "a floor: products, no search"
    apart = np.abs(ours["distance"] - other["distance"]).max() / ours["distance"].max()
    differ = np.flatnonzero(ours["index"] != other["index"])
    text = f"{len(ours['index']) - len(differ)} of {len(ours['index'])} rows the same, distances {apart:.0e} apart at most"
    if len(differ):
        # Double precision decides who found the nearer row.
        queries, bank = (array.astype(np.float64) for array in arrays(inputs))
        reach = lambda index: ((queries[differ] - bank[index[differ].astype(np.int64)]) ** 2).sum(1)
        worse = int((reach(ours["index"]) > reach(other["index"])).sum())
        text += f"; of the others ours is nearer in {len(differ) - worse}, not in {worse}"
    return text


def rows(where):
    queries, bank, cols = (500, 600, 96) if where.quick else (8192, 10_000, 1536)
    peers = [
        Peer("faiss IndexFlatL2", "faiss", "neighbours", ["faiss-cpu"], check=same),
        Peer("PyTorch, blocks of products and their minimum", "torch", "neighbours", ["torch"], check=same),
        Peer("PyTorch's products alone", "torch_products", "neighbours", ["torch"], check=same),
        Peer("NumPy's products alone", "numpy_products", "neighbours", ["numpy"], check=same),
    ]
    work = f"the nearest of {bank:,} × {cols:,} for {queries:,} rows"
    for kind in ("isotropic", "correlated"):
        def prepare(where, kind=kind):
            return {"queries": where.rows(kind, queries, cols, 0), "bank": where.rows(kind, bank, cols, 1)}

        yield Row(f"neighbours_{kind}", f"{work}, {kind}", "neighbours", prepare, peers)

    folder = where.data and where.data / "mini" / "screw" / "train" / "good"
    images = {"queries": (10, 1), "bank": (0, 1)} if where.quick else {"queries": (10, 8), "bank": (0, 10)}

    def features(where):
        drawn = lambda part: where.drawn(f"screws_{part}.npy", "draw_features", dict(zip(("from", "images"), images[part])),
                                         {"images": str(folder)})
        return {part: drawn(part) for part in images}

    missing = None if folder and folder.is_dir() else "DMAD_DATA names no folder with mini/screw"
    yield Row("neighbours_screws", f"{work}, WideResNet50-2 (random weights) on photographs of screws", "neighbours", features,
              peers, missing=missing)
