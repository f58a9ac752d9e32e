"""Training steps in PyTorch, for `cargo bench --bench training`: each line of input names one, the answer is its seconds.

Written from docs/methods/{dra,bgad}.md: the networks, batches, losses and optimisers are those of the Rust benchmark, value
by value as wide; weights and images are drawn.
"""

import math
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)


class Basic(nn.Module):
    """Two 3x3 convolutions with batch normalisation around a shortcut."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.short = None
        if stride != 1 or inputs != outputs:
            self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.short is None else self.short(x)))


def resnet18():
    stages = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
    blocks = [Basic(i, o, s) if n == 0 else Basic(o, o, 1) for i, o, s in stages for n in range(2)]
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks)


class Dra(nn.Module):
    """ResNet-18 and the four heads."""

    def __init__(self):
        super().__init__()
        self.trunk = resnet18()
        self.holistic = nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 1))
        self.seen, self.pseudo, self.composite = (nn.Conv2d(512, 1, 1) for _ in range(3))
        self.residual = nn.Sequential(nn.Conv2d(512, 512, 3, 1, 1), nn.BatchNorm2d(512), nn.ReLU())

    def forward(self, images, references):
        features = self.trunk(images)
        mean, own = features[:references].mean(0, keepdim=True), features[references:]
        residual = self.residual(mean - own)
        scores = [self.holistic(own.mean((2, 3))).abs()]
        for head, x in [(self.seen, own), (self.pseudo, own), (self.composite, residual)]:
            values = head(x).abs().flatten(1)
            scores.append(values.topk(max(1, int(0.1 * values.shape[1])), dim=1)[0].mean(1, keepdim=True))
        return scores


def deviation(scores, beyond):
    return ((1 - beyond) * scores.abs() + beyond * (5 - scores).clamp(min=0)).mean()


def dra():
    labelled, references, side = 24, 5, 128
    net, images = Dra().train(), torch.randn(labelled + references, 3, side, side)
    kind = torch.arange(labelled) % 3  # normal, seen, pseudo
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-4, weight_decay=1e-5)
    asked = [kind >= 0, kind != 2, kind != 1, kind >= 0]
    beyond = [(kind == 0), (kind != 0), (kind != 0), (kind != 0)]

    def step():
        optimizer.zero_grad()
        scores = net(images, references)
        loss = sum(deviation(s[a], b[a, None].float()) for s, a, b in zip(scores, asked, beyond))
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return loss

    return step


class Flow(nn.Module):
    """Conditional coupling blocks of `channels`, with 128 values of position."""

    def __init__(self, channels, blocks=8, position=128):
        super().__init__()
        self.kept, self.changed = math.ceil(channels / 2), channels // 2
        inputs = self.kept + position
        make = lambda: nn.Sequential(nn.Linear(inputs, 2 * inputs), nn.ReLU(), nn.Linear(2 * inputs, 2 * self.changed))
        self.subnets = nn.ModuleList(make() for _ in range(blocks))
        self.offset = nn.ParameterList(nn.Parameter(torch.zeros(1, channels)) for _ in range(blocks))
        self.scale = nn.ParameterList(nn.Parameter(torch.full((1, channels), 9.98648)) for _ in range(blocks))
        self.rotation = [torch.linalg.qr(torch.randn(channels, channels))[0] for _ in range(blocks)]

    def forward(self, x, condition):
        volume = 0
        for subnet, offset, scale, rotation in zip(self.subnets, self.offset, self.scale, self.rotation):
            first, second = x[:, : self.kept], x[:, self.kept :]
            raw = subnet(torch.cat([first, condition], 1)) * 0.1
            s, shift = 1.9 * torch.tanh(raw[:, : self.changed]), raw[:, self.changed :]
            whole = 0.2 * torch.log1p(torch.exp(0.5 * scale))
            x = (torch.cat([first, second * torch.exp(s) + shift], 1) * whole + offset) @ rotation.T
            volume = volume + s.sum(1) + whole.log().sum(1)
        return x, volume


def weight_normal(v):
    return torch.where(v > -0.2, torch.ones_like(v), 11.7 * (1 - v.clamp(max=-0.2).exp()).sqrt() * v.abs().clamp(min=1e-6))


def weight_abnormal(v):
    return torch.where(v <= -1.0, torch.ones_like(v), 0.53 * (1 + v.exp()) ** 2 / v.abs().clamp(min=1e-6))


def bgad(channels):
    places = 4096
    net, x, condition = Flow(channels), torch.randn(places, channels), torch.randn(places, 128)
    abnormal = torch.arange(places) % 4 == 0
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-4)

    def step():
        optimizer.zero_grad()
        z, volume = net(x, condition)
        lp = (volume - 0.5 * (z**2).sum(1)) / channels - 0.5 * math.log(2 * math.pi)
        n, a = lp[~abnormal], lp[abnormal]
        vn, va = n / 10, a / 10
        wn, wa = weight_normal(vn.detach()), weight_abnormal(va.detach())
        border = vn.detach().sort()[0][int(0.05 * len(vn))]
        low, high = vn <= border, va >= border - 0.1
        loss = (-F.logsigmoid(n) * wn).mean()
        loss = loss + ((border - vn) * wn)[low].mean()
        if high.any():
            loss = loss + ((va - border + 0.1) * wa)[high].mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


class Dmad(nn.Module):
    """Knowledge of both banks, one projection for all three parts, an MLP of residual blocks with batch normalisation."""

    def __init__(self, dim, hidden, blocks=4):
        super().__init__()
        self.project, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.norm = nn.BatchNorm1d(dim)
        widths = [3 * dim] + [hidden] * (blocks - 1)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(w, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2)) for w in widths)
        self.out = nn.Linear(hidden, 1, bias=False)

    def describe(self, patch, *neighbours):
        # A softmax over one token is 1: attention is the value layer alone.
        parts = [self.project(patch)]
        parts += [self.project(self.norm(patch - n + self.value(patch))) for n in neighbours]
        return torch.cat(parts, 1)

    def judge(self, x):
        x = self.blocks[0](x)
        for block in self.blocks[1:]:
            x = x + block(x)
        return self.out(x)


def dmad(rows, dim, hidden):
    net = Dmad(dim, hidden)
    patch, normal, abnormal = (torch.randn(rows, dim) for _ in range(3))
    noise = 0.25 * torch.randn(rows, dim)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-4, weight_decay=1e-5)

    def step():
        optimizer.zero_grad()
        described = net.describe(patch, normal, abnormal)
        disturbed = described + noise.repeat(1, 3)
        scores = net.judge(torch.cat([described, disturbed]))
        loss = F.relu(0.5 - scores[:rows]).mean() + F.relu(0.5 + scores[rows:]).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


steps = {"dmad_152": dmad(2048, 152, 256), "dmad_1536": dmad(4096, 1536, 1024)}
steps |= {"dra": dra(), "bgad_40": bgad(40), "bgad_200": bgad(200)}
print(torch.__version__, "with", torch.get_num_threads(), "threads", flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    steps[line.strip()]().item()
    print(time.perf_counter() - began, flush=True)
