"""What the card of the reference detector says in words."""

from __future__ import annotations

from typing import Final

from services.perception.detection.training.nanodet.published import PACKAGE

LICENCE: Final = (
    "Apache-2.0 (weights and architecture: RangiLyu; conversion (c) 2021 Vladimir Mandic, MIT). The annotations that "
    "it was trained on are CC BY 4.0 (COCO Consortium), their pictures are under Flickr's terms. See NOTICE beside the "
    "file"
)
TRAINING: Final = (
    "Trained by RangiLyu on COCO train2017 and published as NanoDet-g (github.com/RangiLyu/nanodet, Apache-2.0, "
    "config/nanodet-g.yml: 190 epochs of stochastic gradient descent at 416 x 416); converted for TensorFlow.js by "
    f"Vladimir Mandic (npm {PACKAGE.package}); nothing was trained here. The publication above is that of its losses "
    "and of its distributions of edges; NanoDet has none of its own"
)
LIMITS: Final = [
    "It is small and meant as an outside reference: detectors trained on the pictures in question find more.",
    (
        "Seen on two dozen photographs and frames: boxes sit tight on people, vehicles and animals. Above the "
        "threshold a bear was called a bird, a lioness a horse, landing gear people and a crash barrier a train."
    ),
    (
        "80 classes of COCO: of road traffic there are cars, buses, trucks, trains, bicycles, motorcycles, traffic "
        "lights, stop signs and fire hydrants, but no other signs; no cells, no medical findings."
    ),
    (
        "Small objects are missed: at 416 pixels a traffic light of CARLA has a few pixels, hence its low figure. "
        "Scores are no probabilities, and the thresholds of the author were kept as they are."
    ),
    (
        "Frames of Town05 are neighbouring moments of one simulated town, so the interval, which draws frames again, "
        "is too narrow for other towns and for streets; bikes and motobikes are too few for more than an impression."
    ),
    "The average precision on COCO is the author's figure and was not measured again: COCO was not at hand.",
    "Whether terms of pictures from Flickr reach weights is an open question; the author publishes under Apache-2.0.",
    (
        "That the published file is NanoDet-g is inferred: its graph is that configuration layer by layer (3,786,068 "
        "weights; the author states 3.8 million), and the package names his repository as where it comes from."
    ),
]
CHOICES: Final = [
    "Weights stand in half precision in the file, as they were published, and are computed with in single.",
    (
        "The published graph takes 416 x 416 only and gives three levels of logits; this one takes multiples of 32, "
        "turns colours round (the network wants blue first), normalises, decodes, and keeps the 1000 surest regions."
    ),
    (
        "A picture lies in the upper left of its square, where the author centres it; it is scaled up, too. A shorter "
        "side of 320 with a longer one of up to 544 costs as much and finds more on wide pictures (the figures beside)."
    ),
]
