"""Decoding and resizing, beside Pillow and OpenCV."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pairs import Peer, Row


def files(inputs):
    with open(inputs["list"]) as lines:
        return [line.strip() for line in lines]


def pillow(inputs, settings):
    from PIL import Image

    paths, side = files(inputs), settings["side"]

    def one(path):
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))

    return pooled(one, paths, settings["threads"])


def opencv(inputs, settings):
    import cv2

    paths, side = files(inputs), settings["side"]
    cv2.setNumThreads(1)  # the pool below has the threads

    def one(path):
        image = cv2.resize(cv2.imread(path), (side, side), interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    return pooled(one, paths, settings["threads"])


def pooled(one, paths, threads):
    """Images side by side: both libraries give up the interpreter's lock while they work."""
    pool = ThreadPoolExecutor(threads)
    return lambda: {"images": np.stack(list(pool.map(one, paths)))}


KERNELS = {"pillow": pillow, "opencv": opencv}


def compared(tolerance, reason):
    def check(ours, other, inputs):
        apart = np.abs(ours["images"].astype(int) - other["images"])
        word = "agree" if apart.max() <= tolerance else reason
        return f"{word}: {apart.max()} levels of 255 apart at most, {apart.mean():.3f} on average"

    return check


def drawn(number, side):
    """A photograph's statistics: broad shades with a tint, parts with sharp edges, finer texture, noise of a sensor."""
    from PIL import Image

    random = np.random.default_rng(number)

    def field(grid):
        coarse = Image.fromarray(random.random((grid, grid), np.float32))
        return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))

    light = sum(weight * field(grid) for grid, weight in ((6, 70), (24, 30), (96, 24), (side // 3, 16)))
    light = light + 30 * (field(8) > 0.55) - 25 * (field(20) > 0.7)
    tinted = np.stack([light + 24 * field(5) for _ in range(3)], 2)
    return Image.fromarray((tinted + 20 + random.normal(0, 3.5, tinted.shape)).clip(0, 255).astype(np.uint8))


def listed(where, kind, count, side, distinct=40):
    """A list of `count` files, of which `distinct` differ: making them takes longer than reading them."""
    folder = where.inputs / f"{kind}_{side}"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:03}.{kind}" for number in range(min(count, distinct))]
    for number, path in enumerate(paths):
        if not path.exists():
            settings = {"quality": 92} if kind == "jpg" else {"compress_level": 6}
            drawn(number, side).save(path, **settings)
    place = where.inputs / f"{kind}_{side}_{count}.txt"
    place.write_text("".join(f"{paths[number % len(paths)]}\n" for number in range(count)))
    return place


def rows(where):
    count, side, to = (8, 256, 64) if where.quick else (200, 1024, 256)
    for kind, decoder in (("png", "the same bytes decoded"), ("jpg", "another decoder")):
        def prepare(where, kind=kind):
            return {"list": listed(where, kind, count, side)}

        # A JPEG decoder may round a block's transform its own way.
        alike = 1 if kind == "png" else 3
        peers = [
            Peer("Pillow, bilinear", "pillow", "images", ["Pillow"], check=compared(alike, "DIFFER")),
            Peer("OpenCV, INTER_AREA", "opencv", "images", ["opencv-python-headless"],
                 check=compared(0, "another filter")),
        ]
        yield Row(f"images_{kind}", f"{count} {kind.upper()} files of {side}² decoded and resized to {to}²", "decode", prepare,
                  peers, settings={"side": to})
