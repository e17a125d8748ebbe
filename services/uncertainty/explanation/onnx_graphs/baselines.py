"""What sharing ratios are compared with, each as one ONNX graph too: class maps, gradients, relevance propagation."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from services.uncertainty.explanation.onnx_graphs.conversion import RELEVANCE, JointGraph, layer_output
from services.uncertainty.explanation.relevance.propagation import (
    activation_map,
    epsilon_relevance,
    gradients,
    positive_relevance,
)

GRADIENT = "gradient"
"""Output: gradient of the explained logit by the normalised picture, float32 (batch, channels, height, width)."""

NORMALISED = "normalised"
"""Output: the picture as the first convolution reads it, in the same shape."""

RULES = {"epsilon": epsilon_relevance, "z+": positive_relevance}


def with_class_map(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a classifier with its class activation map (Zhou et al. 2016) as output `RELEVANCE`.

    (batch, height, width) of the last feature map; adds up to the logit.

    Raises:
        UnsupportedNetwork: see `JointGraph`.
    """
    joint = JointGraph(model)
    joint.publish_map(joint.class_map(), RELEVANCE, joint.network.head.source)
    return joint.finish()


def with_gradient(model: onnx.ModelProto, *, layers: Sequence[str] = ()) -> onnx.ModelProto:
    """A copy of a classifier with the outputs `GRADIENT` and `NORMALISED`, and Grad-CAM at layers.

    Args:
        model: a classifier.
        layers: names of `Network.layers()`; each gets an output `relevance/<name>`, (batch, height, width).

    Raises:
        UnsupportedNetwork: see `JointGraph`.
        KeyError: a layer that the network does not have.
    """
    joint = JointGraph(model)
    joint.require_layers(layers)
    network, add = joint.network, joint.operations
    flow = gradients(add, network, values=joint.values, weight=joint.weight)
    channels = network.junctions[0].branches[0].convolution
    count = "channels" if channels is None else channels.inputs
    for tensor, output in ((flow[network.input], GRADIENT), (joint.values[network.input], NORMALISED)):
        joint.publish(tensor, output, "batch", count, *network.sizes[network.input])
    for layer in layers:
        joint.publish_map(activation_map(add, network, flow, layer, joint.values[layer]), layer_output(layer), layer)
    return joint.finish()


def with_propagation(model: onnx.ModelProto, *, rule: str) -> onnx.ModelProto:
    """A copy of a classifier with layer-wise relevance propagation as output `RELEVANCE`, summed over the channels.

    Args:
        model: a classifier.
        rule: a key of `RULES`.

    Raises:
        UnsupportedNetwork: see `JointGraph`.
    """
    joint = JointGraph(model)
    network, add = joint.network, joint.operations
    relevance = RULES[rule](add, network, values=joint.values, weight=joint.weight)
    joint.publish_map(add.sum_channels(relevance), RELEVANCE, network.input)
    return joint.finish()
