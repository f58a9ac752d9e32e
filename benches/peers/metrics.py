"""Seven exact metrics of 83 maps, beside anomalib's and scikit-learn's."""

import numpy as np

from pairs import Peer, Row

NAMES = ["image AUROC", "image AP", "image F1max", "pixel AUROC", "pixel AP", "pixel F1max", "AUPRO"]


def anomalib(inputs, settings):
    import torch
    from anomalib.data import ImageBatch
    from anomalib.metrics import AUPR, AUPRO, AUROC, F1Max

    torch.set_num_threads(settings["threads"])
    # These metrics put scores outside of [0, 1] through a sigmoid. Halves are exact, so no order changes.
    maps = torch.from_numpy(np.load(inputs["maps"]) / np.float32(2))
    masks = torch.from_numpy(np.load(inputs["masks"]).astype(bool))
    images, _, side = maps.shape
    batch = ImageBatch(image=torch.zeros(images, 3, 1, 1), anomaly_map=maps, gt_mask=masks,
                       pred_score=maps.amax((1, 2)), gt_label=masks.any(2).any(1))
    of_image, of_pixels = ["pred_score", "gt_label"], ["anomaly_map", "gt_mask"]

    def run():
        metrics = [metric(fields=fields) for fields in (of_image, of_pixels) for metric in (AUROC, AUPR, F1Max)]
        metrics.append(AUPRO(fields=of_pixels))
        for metric in metrics:
            metric.update(batch)
        return {"values": np.array([float(metric.compute()) for metric in metrics])}

    return run


def sklearn(inputs, settings):
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    maps, masks = np.load(inputs["maps"]), np.load(inputs["masks"])

    def three(truth, scores):
        precision, recall, _ = precision_recall_curve(truth, scores)
        best = np.nanmax(2 * precision * recall / np.maximum(precision + recall, 1e-300))
        return [roc_auc_score(truth, scores), average_precision_score(truth, scores), best]

    def run():
        images = three(masks.any((1, 2)), maps.max((1, 2)))
        return {"values": np.array([*images, *three(masks.reshape(-1), maps.reshape(-1))])}

    return run


KERNELS = {"anomalib": anomalib, "sklearn": sklearn}


def checked(tolerance):
    def check(ours, other, inputs):
        apart = np.abs(ours["values"][: len(other["values"])] - other["values"])
        worst = int(apart.argmax())
        agree = "agree" if apart.max() <= tolerance else "DIFFER"
        return f"{len(apart)} values {agree}: {apart.max():.0e} apart at most ({NAMES[worst]})"

    return check


def rows(where):
    def drawn(side, images):
        def prepare(where):
            folder = where.drawn(f"maps_{side}_{images}", "draw_maps", {"side": side, "images": images})
            return {"maps": folder / "maps.npy", "masks": folder / "masks.npy"}

        return prepare

    images = 20 if where.quick else 83
    for side in (64, 128) if where.quick else (256, 1024):
        # anomalib adds up in single precision.
        peers = [Peer("anomalib", "anomalib", "metrics", ["anomalib", "torchmetrics", "torch"], check=checked(2e-5))]
        if side <= 256:
            peers.append(Peer("scikit-learn (no AUPRO)", "sklearn", "metrics", ["scikit-learn"], check=checked(1e-12)))
        yield Row(f"metrics_{side}", f"seven exact metrics, {images} maps of {side}²", "metrics", drawn(side, images), peers)
