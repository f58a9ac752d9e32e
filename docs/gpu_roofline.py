#!/usr/bin/env python3
"""Operations, bytes and floors of every stage of Table 4 at the paper's size: the tables of docs/gpu.md, "Roofline".

    python3 docs/gpu_roofline.py            all tables, as they stand in docs/gpu.md
    python3 docs/gpu_roofline.py --step     a training step, kind by kind
    python3 docs/gpu_roofline.py --check    whether docs/gpu.md has these very tables

Nothing is measured here. A floor is what a card would need if every kernel ran at the card's peak, so a real run is slower.
Operations count a multiplication and an addition as two. Bytes count every matrix that a kernel reads or writes once; the
kernels are those that src/train, src/device, src/methods/dmad and burn 0.22.1 (its automatic derivatives included) launch one
by one. A matrix that is passed to a kernel twice counts once, since a thread reads the same place of it in a row.
"""

import contextlib
import io
import pathlib
import sys
from collections import defaultdict

# The paper's size.
TRAIN, TEST, PATCHES, DIM, HIDDEN, SIDE = 3629, 1725, 1024, 1536, 1024, 256
ROWS, TEST_ROWS = TRAIN * PATCHES, TEST * PATCHES
BANK = ROWS * 2 // 100  # M_n: 2 %
OUTLIER = 47 * PATCHES // 10  # M_o: 10 % of one image of each of DTD's 47 categories
SEEN_PATCHES = PATCHES // 20  # abnormal patches of a seen anomaly; the share that `plan` takes
SEEN = 15 * 10 * SEEN_PATCHES  # M_as, and M_p
EPOCHS, BATCH, PROJECTED, SEEDS = 48, 32, 128, 3
FULL_STEPS = TRAIN * EPOCHS / BATCH  # the last of an epoch is smaller; as many full ones have as many rows

# src/bank/filter.rs, neighbours.rs, coreset.rs
TILE, BLOCK, NEIGHBOUR_SLOTS, CORESET_SLOTS = 1024, 16384, 16, 4
PICKS_A_ROUND = 256  # coreset.rs aims at 128 to 1,024
POOL = 2**24 // PROJECTED  # rows of the largest pool

# src/methods/dmad/descent.rs
PART_ROWS = 8192

# src/device/kernels/rows.rs
SEGMENT = 64  # rows that a thread sums

FLOAT = 4.0  # bytes of a value


class Card:
    """Peaks: operations a second of networks and of searches, bytes a second of its memory, and to and from the host."""

    def __init__(self, networks, searches, memory, host):
        self.networks, self.searches, self.memory, self.host = networks, searches, memory, host


F32 = Card(60e12, 60e12, 3e12, 25e9)  # an H100
TF32 = Card(400e12, 400e12, 3e12, 25e9)  # --precision tf32
BF16 = Card(790e12, 790e12, 3e12, 25e9)  # which is not offered
SMALL = Card(40e12, 40e12, 1e12, 25e9)  # f32 on 24 GB


# A training step, operation by operation.


class Value:
    """A matrix on the device; `tracked` where its gradient is wanted."""

    def __init__(self, rows, cols, tracked):
        self.rows, self.cols, self.tracked, self.uses = rows, cols, tracked, 0

    @property
    def bytes(self):
        return FLOAT * self.rows * self.cols


class Step:
    """What a step launches. In front of the projection it is a graph: forward as it is called, backward as burn-autodiff 0.22.1 and
    src/device do it. From the projection on the way back is written out (src/methods/dmad/descent.rs, src/train/mlp.rs)."""

    def __init__(self, sparing=False):
        self.sparing = sparing  # makes again what memory is too short to hold
        self.products = []  # (operations, bytes)
        self.moved = defaultdict(float)  # bytes of everything else, by kind

    def use(self, value):
        """Every gradient of a value but the first is added to those before."""
        if value.tracked:
            value.uses += 1
            if value.uses > 1:
                self.moved["gradients that meet"] += 3 * value.bytes

    def product(self, rows, inner, cols):
        self.products.append((2.0 * rows * inner * cols, FLOAT * (rows * inner + inner * cols + rows * cols)))

    def column_sums(self, kind, *values, sums=1):
        """src/device/kernels/rows.rs: sums over the rows of what is made of these; then sums of sums, until one row is left."""
        rows, cols = values[0].rows, values[0].cols * sums
        self.moved[kind] += sum(value.bytes for value in values)
        while rows > 1:
            rows = -(-rows // SEGMENT)
            self.moved[kind] += FLOAT * rows * cols * (2 if rows > 1 else 1)

    def linear(self, x, outputs):
        """In the graph, with its bias: src/device/affine.rs, plus_row of src/device/columns.rs."""
        self.use(x)
        self.product(x.rows, x.cols, outputs)
        self.product(x.cols, x.rows, outputs)  # gradient of the weights
        if x.tracked:
            self.product(x.rows, outputs, x.cols)
        out = Value(x.rows, outputs, True)
        self.moved["bias"] += 2 * out.bytes
        self.column_sums("bias", out)
        return out

    def gather(self, rows, cols):
        """src/train/resident.rs: rows of a bank, or those of images one below the other."""
        out = Value(rows, cols, False)
        self.moved["gather"] += 2 * out.bytes
        return out

    def add(self, a, b):
        self.use(a)
        self.use(b)
        self.moved["sums and differences"] += 3 * a.bytes
        return Value(a.rows, a.cols, a.tracked or b.tracked)

    def batch_norm(self, x):
        """In the graph: src/device/normalise.rs."""
        kind = "normalisation of what is known"
        self.use(x)
        self.column_sums(kind, x)  # mean
        self.column_sums(kind, x)  # variance
        self.moved[kind] += 2 * x.bytes
        out = Value(x.rows, x.cols, True)
        # Backward, of the gradient of the result: its sums, those of its products with x, and the gradient of x.
        self.column_sums(kind, out)
        self.column_sums(kind, out, x)
        self.moved[kind] += 3 * x.bytes if x.tracked else 0
        return out

    def describe(self, parts, noisy):
        """Projections without their biases, side by side, and below them the same with noise (src/device/kernels/beside.rs). Parts of the
        rows are views; what comes of them is joined."""
        for part in parts:
            self.product(part.rows, DIM, DIM)
        rows, cols = parts[0].rows, len(parts) * DIM
        noise = FLOAT * rows * DIM if noisy else 0
        out = Value(rows * (2 if noisy else 1), cols, True)
        self.moved["descriptions"] += FLOAT * rows * cols + noise + out.bytes
        return out

    def enter(self, described):
        self.product(described.rows, described.cols, HIDDEN)
        inner = Value(described.rows, HIDDEN, True)
        self.moved["descriptions"] += 2 * inner.bytes
        return inner

    def leave(self, described, parts, noisy, knows):
        """The way back from the first linear layer to what stands in front of the projection."""
        if self.sparing:
            self.describe(parts, noisy)
        self.product(described.cols, described.rows, HIDDEN)
        self.product(described.rows, HIDDEN, described.cols)
        self.moved["descriptions"] += described.bytes + sum(part.bytes for part in parts)
        for number, part in enumerate(parts):
            self.product(DIM, part.rows, DIM)
            if knows and number:
                self.product(part.rows, DIM, DIM)
                self.moved["descriptions"] += 2 * part.bytes

    def activate(self, inner, base):
        """src/device/activate.rs: mean, variance, result; backward both sums at once, and the gradient."""
        kind = "normalised and rectified"
        self.column_sums(kind, inner)
        self.column_sums(kind, inner)
        self.moved[kind] += (3 if base else 2) * inner.bytes
        self.column_sums(kind, inner, inner, sums=2)
        self.moved[kind] += 3 * inner.bytes

    def judge(self, rows):
        """The blocks, from what the first linear layer made; everything with one column is left out."""
        inner = Value(rows, HIDDEN, True)
        for block in range(4):
            if block:
                self.product(rows, HIDDEN, HIDDEN)
                self.product(HIDDEN, rows, HIDDEN)
                self.product(rows, HIDDEN, HIDDEN)
                self.moved["gradients that meet"] += 3 * inner.bytes
            self.activate(inner, block)
            if self.sparing:  # what comes out of the blocks up to this one
                self.moved["made again"] += (2 + 3 * block) * inner.bytes
        self.product(rows, HIDDEN, 1)
        self.product(HIDDEN, rows, 1)
        self.product(rows, 1, HIDDEN)

    def adamw(self, parameters):
        """src/device/kernels/adam.rs: value, gradient and two moments in; value and moments out."""
        self.moved["optimiser"] += 7 * FLOAT * parameters


class Row:
    """A row of Table 4."""

    def __init__(self, name, abnormal, attention, distance=True, batch_norm=None, seen_rows=0, zero=False, control=False):
        self.name, self.abnormal, self.attention, self.distance = name, abnormal, attention, distance
        self.batch_norm = attention if batch_norm is None else batch_norm
        self.seen_rows, self.zero, self.control = seen_rows, zero, control
        self.parts = 3 if abnormal or zero else 2
        self.square = DIM * DIM + DIM
        self.mlp = HIDDEN * (self.parts * DIM + 3) + 3 * HIDDEN * (HIDDEN + 3) + HIDDEN
        self.learned = self.square * (2 if attention else 1) + self.mlp

    def known(self, step, rows):
        """What stands in front of the projection: src/methods/dmad/network.rs."""
        patch = step.gather(rows, DIM)
        neighbours = [step.gather(rows, DIM) for _ in range(2 if self.abnormal else 1)]
        value = step.linear(patch, DIM) if self.attention else None
        parts = [patch]
        for neighbour in neighbours:
            terms = [step.add(patch, neighbour)] if self.distance else []
            terms += [value] if self.attention else []
            known = step.add(*terms) if len(terms) == 2 else terms[0]
            if len(terms) == 1 and self.attention:
                step.use(value)
            parts.append(step.batch_norm(known) if self.batch_norm else known)
        if self.zero:
            zeros = Value(rows, DIM, False)
            step.moved["gather"] += zeros.bytes
            parts.append(zeros)
        return parts

    def step(self, sparing=False):
        """src/methods/dmad/trainer.rs."""
        step, rows = Step(sparing), BATCH * PATCHES
        step.moved["noise"] += FLOAT * rows * DIM
        groups = [(self.known(step, rows), True)]
        if self.seen_rows:
            groups.append((self.known(step, self.seen_rows), False))
        for parts, noisy in groups:
            described = step.describe(parts, noisy)
            step.enter(described)
            step.leave(described, parts, noisy, self.attention or self.batch_norm)
        step.judge(2 * rows + self.seen_rows)
        step.adamw(self.learned)
        return step

    def step_bytes(self, keeps):
        """src/methods/dmad/train.rs, `step_bytes`, with the seen anomalies' patches that there are."""
        normals = BATCH * PATCHES
        rows, scored = normals + self.seen_rows, 2 * normals + self.seen_rows
        between = scored * HIDDEN
        in_blocks = (4 + 4) * between
        in_parts = between + 3 * 2 * PART_ROWS * 3 * DIM + 2 * rows * DIM
        kept = scored * 3 * DIM + 4 * between if keeps else 0
        return FLOAT * (7 * rows * DIM + max(in_blocks, in_parts) + kept)

    def score_operations(self, rows):
        square = DIM * DIM * (self.parts + (self.parts - 1 if self.attention else 0))
        return 2.0 * rows * (square + self.mlp)

    def score_bytes(self, rows):
        """Forward alone, with what normalisations remember: a linear layer with its bias reads or writes a row four times."""
        known = 3 * self.distance + 4 * self.attention + 3 * (self.distance and self.attention) + 4 * self.batch_norm
        wide = 4 + (2 if self.abnormal else 1) * (known + 4) + (5 if self.zero else 0) + 3 * self.parts
        hidden = (1 + 2 + 4 + 2) + 3 * (2 + 2 + 4 + 2 + 3) + 1
        return FLOAT * rows * (wide * DIM + hidden * HIDDEN)


ALL_SEEN, FILTERED = BATCH * PATCHES, BATCH * SEEN_PATCHES
TABLE4 = [
    Row("U1 normal_bank-dist", False, False),
    Row("U2 normal_bank-dist-attn", False, True),
    Row("U3 full, 0 seen", True, True),
    Row("S1 no_filter-no_center_sampling", True, False, seen_rows=ALL_SEEN),
    Row("S2 no_center_sampling", True, False, seen_rows=FILTERED),
    Row("S3 no_center_sampling-attn", True, True, seen_rows=FILTERED),
    Row("S3' center_sampling-attn-no_dist", True, True, distance=False, seen_rows=FILTERED),
    Row("S4 full, 10 seen", True, False, seen_rows=FILTERED),
    Row("control: U1 with batch norm", False, False, batch_norm=True, control=True),
    Row("control: U2 with U3's width", False, True, zero=True, control=True),
    Row("control: S3 without batch norm", True, True, batch_norm=False, seen_rows=FILTERED, control=True),
]
U3 = TABLE4[2]


class Training:
    def __init__(self, row, sparing=False):
        self.row, self.step = row, row.step(sparing)
        self.operations = sum(operations for operations, _ in self.step.products) * FULL_STEPS
        self.product_bytes = sum(size for _, size in self.step.products) * FULL_STEPS
        self.step_other = sum(self.step.moved.values())

    def seconds(self, card, share=1.0, elementwise=True):
        """Each kernel by itself: products at their rate or at that of their bytes, everything else at that of its bytes."""
        rate = card.networks * share
        products = sum(max(operations / rate, size / card.memory) for operations, size in self.step.products)
        return (products + (self.step_other / card.memory if elementwise else 0.0)) * FULL_STEPS


# WideResNet50-2 up to layer3: batch normalisation is folded into convolutions.


def convolutions():
    """(channels, outputs, kernel, input side, output side, passes of the activation) of each, in order, and the values that
    blocks add. A block's last activation comes after the sum."""
    relu = 3.5  # a mask of bytes, and a choice
    found, side, channels, added = [(3, 64, 7, SIDE, SIDE // 2, relu)], SIDE // 4, 64, 0
    for layer, depth in enumerate([3, 4, 6]):
        outputs = 256 << layer
        for block in range(depth):
            inner, stride = outputs // 2, 2 if block == 0 and layer > 0 else 1
            out = side // stride
            found += [(channels, inner, 1, side, side, relu), (inner, inner, 3, side, out, relu)]
            found.append((inner, outputs, 1, out, out, relu))
            if block == 0:
                found.append((channels, outputs, 1, side, out, 0))
            side, channels = out, outputs
            added += outputs * out * out
    return found, added


def backbone():
    """Operations and bytes of an image. What is no convolution of single pixels in place is unfolded, written and read again
    (src/backbone/unfold.rs); bias (two passes) and ReLU are kernels of their own, and so is the pooling, which wants channels
    last."""
    found, added = convolutions()
    operations = sum(2.0 * inputs * outputs * kernel**2 * out**2 for inputs, outputs, kernel, _, out, _ in found)
    size = 0.0
    for inputs, outputs, kernel, side, out, activation in found:
        size += inputs * side**2 + outputs * out**2  # input, output
        if kernel > 1 or side != out:
            size += 2 * inputs * kernel**2 * out**2
        size += 2 * outputs * out**2 + activation * outputs * out**2
    size += 3 * added
    size += 64 * (3 * (SIDE // 2) ** 2 + 3 * (SIDE // 4) ** 2)  # pooling: turned, pooled, turned back
    weights = sum(inputs * outputs * kernel**2 for inputs, outputs, kernel, _, _, _ in found)
    return operations, FLOAT * size, weights


class Stage:
    def __init__(self, name, operations, moved, up, down, searches=False):
        self.name, self.operations, self.moved, self.up, self.down = name, operations, moved, up, down
        self.searches = searches

    def floors(self, card):
        rate = card.searches if self.searches else card.networks
        link = (self.up + self.down) / card.host
        return {"arithmetic": self.operations / rate, "memory": self.moved / card.memory, "host link": link}

    def seconds(self, card):
        return max(self.floors(card).values())

    def bound(self, card):
        floors = self.floors(card)
        return max(floors, key=floors.get)


def features(images):
    operations, size, weights = backbone()
    size = size * images + FLOAT * weights * images / 8  # eight images a pass
    rows = images * PATCHES * DIM * FLOAT
    # src/features/on_device.rs: sums in each layer's grid, rows of each layer, their sum.
    entries = 768 * 2 * (5 * 1024 + 10 * 256)
    sums = DIM * (1024 + 256) * FLOAT
    aggregate = (512 * 1024 + 1024 * 256) * FLOAT + 2 * sums + 5 * PATCHES * DIM * FLOAT
    return [
        Stage(f"backbone, {images:,} images", operations * images, size, images * 3 * SIDE**2 * FLOAT, 0),
        Stage("aggregation of patches", 2.0 * entries * images, aggregate * images, 0, rows),
    ]


def search(name, queries, bank):
    """src/bank/filter.rs: tiles of products, each written and read once; queries are read again for every tile."""
    tiles, blocks = -(-bank // TILE), -(-queries // BLOCK)
    moved = FLOAT * (2.0 * queries * bank + tiles * queries * DIM + blocks * bank * DIM)
    up = FLOAT * (queries * (DIM + 2) + bank * (DIM + 1))
    down = FLOAT * queries * (2 * NEIGHBOUR_SLOTS + 2)
    return Stage(name, 2.0 * queries * bank * DIM, moved, up, down, searches=True)


def coreset():
    """In f32 whatever the precision: the link is the bound."""
    rounds = -(-BANK // PICKS_A_ROUND)
    moved = FLOAT * (2.0 * ROWS * BANK + rounds * ROWS * PROJECTED)
    up = FLOAT * (ROWS * PROJECTED + BANK * PROJECTED + rounds * ROWS * 2)
    down = FLOAT * rounds * ROWS * (2 * CORESET_SLOTS + 2)
    return Stage(f"coreset updates, {rounds} rounds", 2.0 * ROWS * BANK * PROJECTED, moved, up, down)


def scoring(row):
    up = FLOAT * TEST_ROWS * DIM * row.parts
    operations, moved = row.score_operations(TEST_ROWS), row.score_bytes(TEST_ROWS)
    return Stage("scores of the test images (U3)", operations, moved, up, FLOAT * TEST_ROWS)


def shared_stages():
    """Features, then what a seed needs that all rows share."""
    return features(TRAIN + TEST), [
        coreset(),
        search("neighbours of training patches in M_n", ROWS, BANK),
        search("neighbours of test patches in M_n", TEST_ROWS, BANK),
        search("neighbours of both in M_o", ROWS + TEST_ROWS, OUTLIER),
        search("neighbours of both in M_as and M_p", ROWS + TEST_ROWS, 2 * SEEN),
    ]


# Printing.


def sig(value):
    return f"{value:.1e}".replace("e+0", "e").replace("e+", "e") if value else "–"


def size(value):
    for unit, scale in [("TB", 1e12), ("GB", 1e9), ("MB", 1e6)]:
        if value >= scale:
            return f"{value / scale:.{0 if value >= 100 * scale else 1}f} {unit}"
    return f"{value / 1e3:.0f} kB" if value else "–"


def seconds(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def print_stages():
    frozen, banks = shared_stages()
    rows = []
    for stage in frozen + banks + [scoring(U3)]:
        moved = [sig(stage.operations), size(stage.moved), size(stage.up), size(stage.down)]
        floors = [seconds(stage.seconds(card)) for card in (F32, TF32, BF16, SMALL)]
        rows.append([stage.name] + moved + floors + [stage.bound(F32)])
    moved = ["operations", "bytes on the device", "to it", "from it"]
    table(["stage"] + moved + ["f32, s", "tf32, s", "bf16, s", "24 GB card, s", "f32 bound by"], rows)


def print_trainings():
    rows = []
    for row in TABLE4:
        own = Training(row)
        cells = [
            f"{row.learned / 1e6:.1f} M",
            sig(own.operations),
            size(own.product_bytes / FULL_STEPS),
            size(own.step_other),
            seconds(own.seconds(F32, elementwise=False)),
            seconds(own.seconds(F32)),
            seconds(own.seconds(TF32)),
            seconds(own.seconds(SMALL)),
        ]
        rows.append([row.name] + cells)
    work = ["learned", "operations", "a step: operands", "a step: the rest"]
    table(["row"] + work + ["f32, products alone, s", "f32, s", "tf32, s", "24 GB card, s"], rows)


def total(card, share=1.0, controls=False, elementwise=True, sparing=False):
    frozen, banks = shared_stages()
    other = sum(stage.seconds(card) for stage in frozen) + SEEDS * sum(stage.seconds(card) for stage in banks)
    # S1 keeps every patch of the seen anomalies; S2 and S3 share M_as without M_p. Neither depends on the seed.
    for bank in (15 * 10 * PATCHES, SEEN):
        other += search("", ROWS + TEST_ROWS, bank).seconds(card)
    rows = [row for row in TABLE4 if controls or not row.control]
    trainings = SEEDS * sum(Training(row, sparing).seconds(card, share, elementwise) for row in rows)
    scores = SEEDS * sum(scoring(row).seconds(card) for row in rows)
    return len(rows) * SEEDS, other, trainings, scores


def print_kinds():
    own = Training(U3)
    rows = []
    for kind, value in sorted(own.step.moved.items(), key=lambda item: -item[1]):
        rows.append([kind, size(value), seconds(value / F32.memory * FULL_STEPS)])
    rows.append(["together", size(own.step_other), seconds(own.step_other / F32.memory * FULL_STEPS)])
    table(["the rest of U3", "a step", "a training, s"], rows)


def print_total():
    cases = [
        ("f32, products alone", F32, dict(elementwise=False)),
        ("f32, kernel by kernel", F32, {}),
        ("the same, products at 85 % of the peak", F32, dict(share=0.85)),
        ("the same, products at 70 % of the peak", F32, dict(share=0.7)),
        ("the same, products at 50 % of the peak", F32, dict(share=0.5)),
        ("f32, kernel by kernel, with the three controls", F32, dict(controls=True)),
        ("tf32, products alone", TF32, dict(elementwise=False)),
        ("tf32, kernel by kernel", TF32, {}),
        ("the same, products at 50 % of the peak", TF32, dict(share=0.5)),
        ("the same, products at 25 % of the peak", TF32, dict(share=0.25)),
        ("24 GB card, f32, kernel by kernel", SMALL, {}),
        ("the same, where all of them are made again", SMALL, dict(sparing=True)),
    ]
    rows = []
    for name, card, options in cases:
        count, *parts = total(card, **options)
        rows.append([name, str(count)] + [seconds(part) for part in parts] + [f"{sum(parts) / 3600:.1f}"])
    table(["case", "trainings", "features, banks, neighbours, s", "trainings, s", "scores, s", "hours"], rows)


def least_share(card, hours, **options):
    """The smallest share of the peak, in per cent, at which the products of trainings leave Table 4 within so many hours."""
    within = lambda percent: sum(total(card, share=percent / 100, **options)[1:]) <= hours * 3600
    return next((f"{percent} %" for percent in range(1, 101) if within(percent)), "never")


def print_bounds():
    cases = [
        ("24 trainings, kernel by kernel", {}),
        ("24 trainings, products alone", dict(elementwise=False)),
        ("33 trainings (with the controls), kernel by kernel", dict(controls=True)),
    ]
    rows = [[name, least_share(F32, 4, **options), least_share(TF32, 2, **options)] for name, options in cases]
    table(["the least share of the peak", "4 hours in f32", "2 hours in tf32"], rows)


def print_host():
    images = TRAIN + TEST
    values = [
        ("decode and resize", f"{images:,} images", "–", size(3 * SIDE**2 * images) + " of RGB left"),
        ("write features", "once", "–", size((ROWS + TEST_ROWS) * DIM * FLOAT)),
        ("project before the coreset", "a seed", sig(2.0 * ROWS * DIM * PROJECTED), size(ROWS * DIM * FLOAT) + " read"),
        ("work on the pool, at most", "a seed", sig(3.0 * BANK * POOL * PROJECTED), size(BANK * POOL * PROJECTED * FLOAT)),
        ("decide among candidates of picks", "a seed", "–", size(-(-BANK // PICKS_A_ROUND) * ROWS * 8) + " of distances"),
        ("gather rows of steps that are streamed", "a training", "–", size(3 * BATCH * PATCHES * FULL_STEPS * DIM * FLOAT)),
        ("maps and metrics", "a run", "–", f"{TEST * SIDE**2 / 1e6:.0f} M pixels"),
    ]
    table(["host", "how often", "operations", "bytes"], [list(value) for value in values])


def print_memory():
    values = [
        ("features of the training images", ROWS * DIM * FLOAT, "a training, where they fit"),
        ("M_n", BANK * DIM * FLOAT, "a search, a training"),
        ("M_o", OUTLIER * DIM * FLOAT, "a search, a training"),
        ("numbers of the neighbours", 2 * ROWS * FLOAT, "a training"),
        ("projected training patches", ROWS * PROJECTED * FLOAT, "a coreset"),
        ("two blocks of queries", 2 * BLOCK * DIM * FLOAT, "a search"),
        ("a tile of products", TILE * BLOCK * FLOAT, "a search, a coreset"),
        ("what is noted for a block", BLOCK * FLOAT * (2 * NEIGHBOUR_SLOTS + 4), "a search"),
        ("weights of the backbone", backbone()[2] * FLOAT, "features"),
        ("unfolded images of a pass, at most", 2.0**26 * FLOAT, "features"),
        ("parameters, gradients, moments (U3)", 4 * U3.learned * FLOAT, "a training"),
        ("rows of a step that is streamed", 3 * BATCH * PATCHES * DIM * FLOAT, "a step"),
        ("a step that keeps what its way back needs (U3)", U3.step_bytes(True), "a step"),
        ("the same (S1)", TABLE4[3].step_bytes(True), "a step"),
        ("a step that makes it again (U3)", U3.step_bytes(False), "a step"),
        ("the same (S1)", TABLE4[3].step_bytes(False), "a step"),
    ]
    table(["what", "bytes", "stays for"], [[name, size(value), where] for name, value, where in values])


def print_step():
    for row in TABLE4:
        step = row.step()
        operations = sum(operations for operations, _ in step.products)
        print(f"{row.name}: {operations:.3e} operations in {len(step.products)} products,", end=" ")
        print(f"{size(sum(value for _, value in step.products))} of operands, {size(sum(step.moved.values()))} elsewhere")
        for kind, value in sorted(step.moved.items(), key=lambda item: -item[1]):
            print(f"  {kind}: {size(value)}")


def missing():
    """The tables that docs/gpu.md has not as they are printed now."""
    page = pathlib.Path(__file__).with_name("gpu.md").read_text(encoding="utf-8")
    for part in TABLES:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            part()
        if printed.getvalue().strip() not in page:
            yield part.__name__


TABLES = (print_stages, print_trainings, print_kinds, print_total, print_bounds, print_host, print_memory)

if __name__ == "__main__":
    if sys.argv[1:] == ["--step"]:
        print_step()
    elif sys.argv[1:] == ["--check"]:
        names = list(missing())
        sys.exit(f"docs/gpu.md differs from {', '.join(names)}" if names else 0)
    else:
        for part in TABLES:
            part()
