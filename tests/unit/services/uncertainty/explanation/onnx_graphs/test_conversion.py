from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from services.perception.classification.training.network import ResNet18
from services.uncertainty.explanation.networks.graph import UnsupportedNetwork
from services.uncertainty.explanation.networks.reading.network import read_network
from services.uncertainty.explanation.onnx_graphs.conversion import with_explanation
from services.uncertainty.explanation.onnx_graphs.verification import verify
from services.uncertainty.explanation.training.torch_operations import explain


class Pooled(nn.Module):
    """A small VGG: maximum pooling between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(8, 5, 1),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(5, 4))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.features(pictures))  # type: ignore[no-any-return]


def resnet() -> nn.Module:
    torch.manual_seed(0)
    network = ResNet18(width=4, classes=6)
    for _ in range(3):  # running means that differ from their initial values
        network(torch.rand(16, 3, 32, 32))
    return network


def small_vgg() -> nn.Module:
    torch.manual_seed(1)
    network = Pooled()
    network(torch.rand(16, 3, 32, 32))
    return network


def exported(network: nn.Module, *, dynamo: bool, training: bool = False) -> onnx.ModelProto:
    """The network as ONNX; with `training`, batch normalisation is left as it is."""
    mode = torch.onnx.TrainingMode.PRESERVE if training else torch.onnx.TrainingMode.EVAL
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.rand(2, 3, 32, 32),),
            f"{folder}/model.onnx",
            dynamo=dynamo,
            training=mode,
            do_constant_folding=not training,
            opset_version=18,
            input_names=["pictures"],
            output_names=["logits"],
            dynamic_axes={"pictures": {0: "batch"}, "logits": {0: "batch"}},
        )
        return onnx.load(f"{folder}/model.onnx")


def run(model: onnx.ModelProto, pictures: Tensor, target: list[int]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    feed = {"pictures": pictures.numpy(), "target": np.array(target, np.int64)}
    return dict(zip(names, session.run(names, feed), strict=True))


@pytest.mark.parametrize("dynamo", [True, False], ids=["exporter by graph", "exporter by tracing"])
@pytest.mark.parametrize("make", [resnet, small_vgg])
def test_one_graph_answers_as_torch_does(make: Callable[[], nn.Module], dynamo: bool) -> None:
    network = make()
    model = exported(network, dynamo=dynamo)
    read = read_network(model)
    joint = with_explanation(model, layers=read.layers()[1:])
    for count in (1, 5):
        pictures = torch.rand(count, 3, 32, 32)
        target = [index % 4 for index in range(count)]
        found = run(joint, pictures, target)
        with torch.no_grad():
            np.testing.assert_allclose(found["logits"], network(pictures), atol=1e-5)
            inner = (pictures - network.mean) / network.deviation if isinstance(network, ResNet18) else pictures
            logits, relevance = explain(read, inner, torch.tensor(target))
        np.testing.assert_allclose(logits, found["logits"], atol=1e-5)
        np.testing.assert_allclose(found["relevance"], relevance[read.input][:, 0], atol=1e-5)
        for name in read.layers()[1:]:
            np.testing.assert_allclose(found[f"relevance/{name}"], relevance[name][:, 0], atol=1e-5)
        assert found["explained"].tolist() == target


def test_the_predicted_class_unless_one_is_named() -> None:
    joint = with_explanation(exported(resnet(), dynamo=True))
    pictures = torch.rand(3, 3, 32, 32)
    free = run(joint, pictures, [-1, -1, -1])
    assert free["explained"].tolist() == free["logits"].argmax(1).tolist()
    np.testing.assert_array_equal(free["relevance"], run(joint, pictures, free["explained"].tolist())["relevance"])


def test_the_logits_stay_the_same_to_the_bit() -> None:
    model = exported(resnet(), dynamo=True)
    pictures = torch.rand(4, 3, 32, 32)
    plain = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = plain.run(["logits"], {"pictures": pictures.numpy()})[0]
    np.testing.assert_allclose(run(with_explanation(model), pictures, [0] * 4)["logits"], expected, atol=1e-6)


def test_batch_normalisation_is_folded() -> None:
    network = small_vgg()
    plain, kept = (read_network(exported(network, dynamo=False, training=training)) for training in (False, True))
    assert any(
        node.op_type == "BatchNormalization" for node in exported(network, dynamo=False, training=True).graph.node
    )
    for left, right in zip(plain.junctions, kept.junctions, strict=True):
        first, second = left.branches[0].convolution, right.branches[0].convolution
        assert first is not None
        assert second is not None
        np.testing.assert_allclose(first.weight, second.weight, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(first.bias, second.bias, rtol=1e-5, atol=1e-6)


UNSUPPORTED = {
    "Sigmoid": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid()),
    "has to begin at 0": nn.Sequential(nn.Conv2d(3, 6, 3), nn.Hardtanh(-1, 1)),
    "dilated": nn.Sequential(nn.Conv2d(3, 6, 3, dilation=2), nn.ReLU()),
    "count its padding": nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AvgPool2d(2, padding=1, count_include_pad=False), nn.Conv2d(6, 6, 1)
    ),
    "ConvTranspose": nn.Sequential(nn.ConvTranspose2d(3, 6, 3), nn.ReLU()),
}


@pytest.mark.parametrize(("named", "body"), UNSUPPORTED.items(), ids=list(UNSUPPORTED))
def test_what_has_no_rule_is_named(named: str, body: nn.Sequential) -> None:
    channels = [layer.out_channels for layer in body if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)][-1]
    network = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 2))
    with pytest.raises(UnsupportedNetwork, match=named) as caught:
        with_explanation(exported(network, dynamo=False))
    assert len(caught.value.parts) == 1


def test_all_faults_are_named_at_once() -> None:
    body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Sigmoid())
    beside = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh())

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = body, beside
            self.fc = nn.Linear(6, 2)

        def forward(self, pictures: Tensor) -> Tensor:
            both: Tensor = self.left(pictures) + self.right(pictures)
            return self.fc(both.mean(dim=(2, 3)))  # type: ignore[no-any-return]

    with pytest.raises(UnsupportedNetwork) as caught:
        read_network(exported(Two(), dynamo=False))
    assert len(caught.value.parts) == 2


def test_a_network_without_pooling_before_the_head_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 30 * 30, 3))
    with pytest.raises(UnsupportedNetwork, match="reshaped before global average pooling"):
        read_network(exported(network, dynamo=False))


def test_unknown_layer() -> None:
    with pytest.raises(KeyError, match="no such layer: nowhere"):
        with_explanation(exported(resnet(), dynamo=True), layers=["nowhere"])


class Stem(nn.Module):
    """How ResNet-18 and 34 begin: the first shortcut reads a maximum pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.block = nn.Sequential(
            nn.Conv2d(4, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
        )
        self.fc = nn.Linear(4, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        stem = self.stem(pictures)
        features = torch.relu(self.block(stem) + stem)
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(features, 1), 1))  # type: ignore[no-any-return]


class Mobile(nn.Module):
    """As MobileNetV2 and EfficientNet-Lite go on: expansion, depthwise convolution, linear bottleneck, ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = self.layer(3, 8, kernel=3, stride=2)
        self.block = nn.Sequential(
            self.layer(8, 24),
            self.layer(24, 24, kernel=3, groups=24),
            nn.Conv2d(24, 8, 1, bias=False),
            nn.BatchNorm2d(8),
        )
        self.down = nn.Sequential(self.layer(8, 16, groups=4), self.layer(16, 16, kernel=5, stride=2, groups=16))
        self.fc = nn.Linear(16, 3)

    @staticmethod
    def layer(inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Module:
        # TensorFlow's SAME: of an even size with a stride of 2, one zero less before.
        before = (kernel - 1) // 2 - (stride == 2)
        zeros = nn.ZeroPad2d((before, kernel // 2, before, kernel // 2))
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        return nn.Sequential(zeros, convolution, nn.BatchNorm2d(outputs), nn.ReLU6())

    def forward(self, pictures: Tensor) -> Tensor:
        stem = self.stem(6 * pictures)
        features = self.down(self.block(stem) + stem)
        return self.fc(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def vgg() -> nn.Module:
    """As VGG ends: pooling, then linear layers with ReLU and dropout over the flattened map."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 8),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(8, 7),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(7, 3),
    )


def pooled_last() -> nn.Module:
    """Maximum pooling right in front of average pooling over the whole map, and average pooling between."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 5, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AvgPool2d(8),
        nn.Flatten(),
        nn.Linear(5, 3),
    )


@pytest.mark.parametrize("dynamo", [True, False], ids=["exporter by graph", "exporter by tracing"])
@pytest.mark.parametrize("make", [Stem, vgg, pooled_last, Mobile])
def test_what_other_people_build_converts_and_adds_up(make: Callable[[], nn.Module], dynamo: bool) -> None:
    torch.manual_seed(2)
    network = make()
    network(torch.rand(16, 3, 32, 32))
    model = exported(network, dynamo=dynamo)
    verify(model)
    pictures = torch.rand(2, 3, 32, 32)
    found = run(with_explanation(model, lost=True), pictures, [0, 2])
    expected = network(pictures).detach().numpy()
    np.testing.assert_allclose(found["logits"], expected, atol=1e-5)
    total = found["relevance"].sum(axis=(1, 2)) + found["lost"]
    np.testing.assert_allclose(total, expected[[0, 1], [0, 2]], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", [torch.onnx.TrainingMode.TRAINING, torch.onnx.TrainingMode.PRESERVE])
def test_what_was_exported_in_training_is_refused(mode: torch.onnx.TrainingMode) -> None:
    torch.manual_seed(1)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        torch.onnx.export(
            small_vgg().train(),
            (torch.rand(2, 3, 32, 32),),
            f"{folder}/model.onnx",
            dynamo=False,
            training=mode,
            do_constant_folding=False,
            opset_version=18,
        )
        model = onnx.load(f"{folder}/model.onnx")
    with pytest.raises(UnsupportedNetwork, match="training mode; export the model for inference"):
        with_explanation(model)
