"""The report of counts that were made up, so that every figure in it can be told by hand; and its page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import onnx
import pytest

from services.security.bit_error_campaigns.charts import bits_chart, curve_chart, layers_chart
from services.security.bit_error_campaigns.network_runs import Progress
from services.security.bit_error_campaigns.plan import conditions
from services.security.bit_error_campaigns.report import Counts, DatasetUsed, Report, build_report
from services.security.bit_error_campaigns.report_page import report_page
from services.security.bit_error_campaigns.schemas import CampaignOptions, ModelUsed
from services.security.bit_errors.weight_memory import WeightMemory
from tests.support.weight_graphs import CLASSES, convolutional

HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)>"
OPTIONS = CampaignOptions(
    rates=(0.001, 0.01),
    seeds=(1, 2),
    fault="stuck_at",
    layout="tiled",
    analyses=("curve", "layers", "bits"),
    analysis_rate=0.01,
    analysis_seeds=(3,),
    images=None,
    execution="auto",
)


def hostile_memory() -> WeightMemory:
    model = onnx.load_model_from_string(convolutional())
    for node in model.graph.node:
        node.name = HOSTILE if node.op_type == "Conv" else node.name
    return WeightMemory.read(bytes(model.SerializeToString()))


def made_up_report() -> Report:
    """Of 100 pictures 92 right as given, 90 as stored; 88 and 60, 90 and 20 by seed; layers 80, 85; bits 90 - 5 bit."""
    memory = hostile_memory()
    planned = conditions(OPTIONS, [one.layer for one in memory.tensors])
    correct = [92, 90, 88, 60, 90, 20, 80, 85, *(90 - 5 * bit for bit in range(8))]
    assert len(planned) == len(correct)
    progress = Progress(
        way="session_per_network",
        network_s={},
        pictures=100,
        correct=correct,
        not_finite=[0] * 4 + [0, 7] + [0] * 10,
        evaluated=100 * len(correct),
    )
    dataset = DatasetUsed(images=100, posted=120, classes=CLASSES, classes_seen=4, labels_by="class names", sha256="ab")
    model = ModelUsed(name=HOSTILE, version="1.0.0", sha256="cd")
    return build_report(Counts(planned, progress), memory, options=OPTIONS, model=model, dataset=dataset)


@pytest.fixture(scope="module")
def report() -> Report:
    return made_up_report()


def test_accuracies_and_losses(report: Report) -> None:
    assert (report.as_given.accuracy, report.stored.accuracy) == (0.92, 0.9)
    assert [one.accuracy.by_seed for one in report.curve] == [[0.88, 0.9], [0.6, 0.2]]
    assert report.curve[1].accuracy.not_finite == 7
    lost = {one.points: one.rate for one in report.loss_rates}
    assert lost[1] == pytest.approx(0.001), "0.89 is the mean of the first two chips"
    assert lost[5] == pytest.approx(0.001 * 10 ** (4 / 49))
    assert lost[50] == pytest.approx(0.01), "0.40 is the mean of the other two"


def test_the_most_fragile_come_first(report: Report) -> None:
    assert [(one.rank, one.layer) for one in report.layers] == [(1, HOSTILE), (2, "fc")]
    assert [one.lost_points for one in report.layers] == pytest.approx([10.0, 5.0])
    assert sum(one.share for one in report.layers) == pytest.approx(1.0)
    assert [one.bit for one in report.bits] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert [one.is_sign for one in report.bits] == [True] + [False] * 7


def test_notes_say_what_to_keep_in_mind(report: Report) -> None:
    notes = " ".join(report.notes)
    assert "flips 0.5 % of the bits" in notes
    assert "costs 2.0 points" in notes
    assert "7 pictures NaN" in notes
    assert "Few seeds" in notes


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.references += [value or "" for name, value in attrs if name in {"src", "href", "data"} or name[:2] == "on"]


def test_the_page_needs_nothing_and_runs_nothing_whatever_names_say(report: Report) -> None:
    page = report_page(
        report,
        curve=curve_chart(report.curve, stored=report.stored.accuracy, title=HOSTILE),
        layers=layers_chart(report.layers, rate=0.01),
        bits=bits_chart(report.bits, rate=0.01),
    ).decode()
    tags = _Tags()
    tags.feed(page)
    assert tags.references == []
    assert not tags.seen & {"script", "img", "link", "iframe", "object"}
    assert page.count("&lt;script&gt;alert(1)") >= 3
    assert "default-src 'none'" in page
    assert re.findall(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page) == []


def test_a_report_without_analyses_is_a_page_too(report: Report) -> None:
    bare = report.model_copy(update={"curve": [], "layers": [], "bits": [], "loss_rates": []})
    page = report_page(bare, curve=None, layers=None, bits=None).decode()
    assert "<svg" not in page
    assert "92.0 %" in page


def test_a_curve_of_one_rate_and_one_chip_can_be_drawn(report: Report) -> None:
    point = report.curve[0]
    one = point.accuracy.model_copy(update={"low": None, "high": None, "std": None, "by_seed": [0.5]})
    chart = curve_chart([point.model_copy(update={"accuracy": one})], stored=0.9, title="-")
    assert chart.ribbons == []
    assert chart.x_ticks
    assert np.isfinite([value for dot in chart.dots for value in dot]).all()
