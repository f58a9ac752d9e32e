"""Whole studies: PatchCore of one class, from image files to metrics, beside anomalib's."""

import json
import os
import shutil
import subprocess
import time

import numpy as np

from pairs import Peer, Row, environment

CLASSES = ["paper_bft01_tl", "screw"]
METRICS = ["image_auroc", "pixel_auroc", "pixel_pro"]
RATIO, NEIGHBOURS, LAYERS = 0.01, 9, ["layer2", "layer3"]

STUDY = """
title = "PatchCore beside another program"
dataset = "mini"
seeds = [0]
metrics = {metrics}
protocol.setting = "per_class"
classes = ["{name}"]
image.size = 256
backbone = {{ name = "resnet18", layers = {layers}, weights = "{weights}" }}
features.aggregation = "concat"

[method]
name = "patchcore"
bank.normal = {{ ratio = {ratio}, projection = 0, selection = "plain" }}
score = {{ squared = false, reweight = {neighbours} }}
"""


def anomalib(inputs, settings):
    import logging
    import tempfile
    import warnings

    import torch
    from anomalib.data import MVTecAD
    from anomalib.engine import Engine
    from anomalib.metrics import AUPRO, AUROC, Evaluator
    from anomalib.models import Patchcore
    from safetensors.torch import load_file

    warnings.filterwarnings("ignore")
    logging.disable(logging.INFO)
    torch.set_num_threads(settings["threads"])

    def run():
        torch.manual_seed(0)
        pixels = ["anomaly_map", "gt_mask"]
        metrics = [AUROC(fields=["pred_score", "gt_label"], prefix="image_"), AUROC(fields=pixels, prefix="pixel_"),
                   AUPRO(fields=pixels, prefix="pixel_")]
        model = Patchcore(
            backbone="resnet18", layers=LAYERS, pre_trained=False, coreset_sampling_ratio=RATIO, num_neighbors=NEIGHBOURS,
            pre_processor=Patchcore.configure_pre_processor((256, 256)), evaluator=Evaluator(test_metrics=metrics),
            visualizer=False)  # no picture of each image is written
        model.model.feature_extractor.feature_extractor.load_state_dict(load_file(inputs["weights"]), strict=False)
        data = MVTecAD(root=inputs["data"], category=settings["class"], num_workers=0)
        with tempfile.TemporaryDirectory() as folder:
            engine = Engine(default_root_dir=folder, accelerator="cpu", devices=1, enable_progress_bar=False,
                            enable_model_summary=False)
            engine.fit(model=model, datamodule=data)
            [found] = engine.test(model=model, datamodule=data, verbose=False)
        return {"values": np.array([found[name] for name in ("image_AUROC", "pixel_AUROC", "pixel_AUPRO")])}

    return run


KERNELS = {"anomalib": anomalib}


class Study(Row):
    """Ours is the program itself, started anew in an empty store."""

    def ask_ours(self, where, inputs, out):
        folder = where.folder / "study"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "study.toml").write_text(STUDY.format(
            metrics=json.dumps(METRICS), name=self.settings["class"], layers=json.dumps(LAYERS), weights=inputs["weights"],
            ratio=RATIO, neighbours=NEIGHBOURS))
        command = [where.program, "run", "study.toml", "--data", where.data, "--format", "json", "--threads",
                   str(where.args.threads), "--no-gallery"]  # theirs writes no picture of each image either
        answer = watched(command, folder, where)
        rows = json.loads(answer.pop("text"))["rows"]
        values = {row["metric"]: row["value"] for row in rows if row.get("class", row.get("category")) == self.settings["class"]}
        out.mkdir(parents=True, exist_ok=True)
        np.save(out / "values.npy", np.array([values[name] for name in METRICS]))
        return answer | {"out": {"values": str(out / "values.npy")}}


def watched(command, folder, where):
    """Runs a program to its end: seconds, and the most memory that it held."""
    began = time.perf_counter()
    with open(folder / "stdout", "w+") as text, open(folder / "stderr", "w") as messages:
        process = subprocess.Popen([str(word) for word in command], cwd=folder, stdout=text, stderr=messages,
                                   env=environment(where.args.threads))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        text.seek(0)
        printed = text.read()
    if process.returncode != 0:
        raise RuntimeError((folder / "stderr").read_text()[-2000:])
    return {"cpu": usage.ru_utime + usage.ru_stime, "wall": wall, "peak_mb": usage.ru_maxrss * 1024 / 1e6, "before_mb": 0.0,
            "text": printed}


def compared(ours, other, inputs):
    own, others = (100 * side["values"] for side in (ours, other))
    pairs = ", ".join(f"{name} {a:.1f} / {b:.1f}" for name, a, b in zip(("image AUROC", "pixel AUROC", "AUPRO"), own, others))
    return f"{pairs}; theirs selects in projected columns from another row, and scores the test images twice"


def rows(where):
    known = where.data / "mini" if where.data else None
    names = sorted(path.name for path in known.iterdir() if path.is_dir()) if where.args.all and known else CLASSES
    for name in names if not where.quick else CLASSES[:1]:
        def prepare(where):
            settings = {"backbone": "resnet18", "layers": LAYERS}
            return {"weights": where.drawn("resnet18.safetensors", "draw_weights", settings), "data": known}

        missing = None if known and (known / name).is_dir() else f"DMAD_DATA names no folder with mini/{name}"
        peers = [Peer("anomalib's PatchCore", "anomalib", "study", ["anomalib", "lightning", "torch"], check=compared,
                      patience=10)]
        yield Study(f"study_{name}", f"PatchCore of `{name}`, ResNet-18, 1 %, images to metrics", "run", prepare, peers,
                    settings={"class": name}, missing=missing)
