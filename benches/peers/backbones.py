"""Frozen networks with the same drawn weights, beside PyTorch and ONNX Runtime."""

import numpy as np

from pairs import Peer, Row


def wide_resnet(weights):
    import torch
    from safetensors.torch import load_file
    from torchvision.models import wide_resnet50_2

    class Trunk(torch.nn.Module):
        """Up to layer3, with both maps that patch features are made of."""

        def __init__(self):
            super().__init__()
            self.net = wide_resnet50_2()
            self.net.layer4, self.net.fc = torch.nn.Identity(), torch.nn.Identity()
            self.net.load_state_dict(load_file(weights), strict=False)

        def forward(self, x):
            net = self.net
            x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
            second = net.layer2(net.layer1(x))
            return second, net.layer3(second)

    return Trunk().eval()


def vit(weights, side):
    import timm
    import torch
    from safetensors.torch import load_file
    from timm.layers import resample_abs_pos_embed

    net = timm.create_model("vit_small_patch14_dinov2", pretrained=False, img_size=side, num_classes=0).eval()
    state = load_file(weights)
    grid = side // 14
    state["pos_embed"] = resample_abs_pos_embed(state["pos_embed"], new_size=[grid, grid], num_prefix_tokens=1)
    net.load_state_dict(state)

    class Trunk(torch.nn.Module):
        """The patches' tokens behind the final normalisation, as a map."""

        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            tokens = self.net.forward_features(x)[:, 1:]
            return (tokens.transpose(1, 2).reshape(len(tokens), -1, grid, grid),)

    return Trunk().eval()


def module(inputs, settings, planes):
    return vit(inputs["weights"], planes.shape[2]) if "vit" in settings["backbone"] else wide_resnet(inputs["weights"])


def in_torch(order):
    def prepare(inputs, settings):
        import torch

        torch.set_num_threads(settings["threads"])
        planes = torch.from_numpy(np.load(inputs["planes"]))
        net = module(inputs, settings, planes)
        if order == "channels last":
            net, planes = net.to(memory_format=torch.channels_last), planes.to(memory_format=torch.channels_last)

        def run():
            with torch.inference_mode():
                return {f"map{number}": map.contiguous().numpy() for number, map in enumerate(net(planes))}

        return run

    return prepare


def in_onnx_runtime(inputs, settings):
    import onnxruntime
    import torch

    planes = np.load(inputs["planes"])
    exported = inputs["weights"] + f".{len(planes)}.onnx"
    net = module(inputs, settings, planes)
    torch.onnx.export(net, (torch.from_numpy(planes),), exported, dynamo=False, opset_version=17)
    choices = onnxruntime.SessionOptions()
    choices.intra_op_num_threads, choices.inter_op_num_threads = settings["threads"], 1
    # Its threads may wait by spinning during a run, not after it, when the other side runs.
    choices.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(exported, choices, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run():
        return {f"map{number}": map for number, map in enumerate(session.run(None, {name: planes}))}

    return run


KERNELS = {"torch": in_torch("channels first"), "channels_last": in_torch("channels last"), "onnx": in_onnx_runtime}


def same(ours, other, inputs):
    apart = [np.abs(ours[name] - other[name]).max() / np.abs(other[name]).max() for name in sorted(other)]
    agree = "agree" if len(ours) == len(other) and max(apart) <= 1e-3 else "DIFFER"
    return f"maps {agree}: {max(apart):.0e} of the largest value apart at most"


def rows(where):
    def prepare(name, layers, images, side):
        def of(where):
            settings = {"backbone": name, "layers": layers}
            weights = where.drawn(f"{name}.safetensors", "draw_weights", settings)
            planes = where.inputs / f"planes_{images}x{side}.npy"
            if not planes.exists():
                np.save(planes, np.random.default_rng(0).standard_normal((images, 3, side, side), np.float32))
            return {"weights": weights, "planes": planes}

        return of

    torch = Peer("PyTorch", "torch", "backbones", ["torch", "torchvision"], check=same)
    last = Peer("PyTorch, channels last", "channels_last", "backbones", ["torch", "torchvision"], check=same)
    onnx = Peer("ONNX Runtime", "onnx", "backbones", ["onnxruntime"], check=same)
    name, layers, (images, side) = "wide_resnet50_2", ["layer2", "layer3"], (2, 64) if where.quick else (8, 256)
    yield Row("backbones_wide_resnet", f"WideResNet50-2 to layer3, {images} images of {side}²", "backbone",
              prepare(name, layers, images, side), [torch, last, onnx], settings={"backbone": name, "layers": layers})
    name, layers, (images, side) = "dinov2_vits14", ["norm"], (1, 98) if where.quick else (4, 392)
    timm = Peer("PyTorch (timm)", "torch", "backbones", ["torch", "timm"], check=same)
    yield Row("backbones_vit", f"ViT-S/14 (DINOv2), {images} images of {side}²", "backbone",
              prepare(name, layers, images, side), [timm, onnx],
              settings={"backbone": name, "layers": layers, "positions": "size_aa"})
