"""Tables as pandas, R, Excel and scikit-learn write them give what JSON gives, or are refused by place."""

from __future__ import annotations

import io
from collections.abc import Callable

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.integration.conformal.conftest import CALIBRATIONS, calibrated, logits, pointers
from tests.support.capability import npy

COUNT, CLASSES = 60, 3
VENN_ABERS = "/v1/uncertainty/venn-abers"
Table = NDArray[np.float64]


def lines(table: Table, *, separator: str = ",", decimal: str = ".") -> list[str]:
    return [separator.join(repr(float(one)).replace(".", decimal) for one in row) for row in table]


def pandas_without_names(table: Table) -> str:
    """DataFrame(z).to_csv(index=False)"""
    return "0,1,2\n" + "\n".join(lines(table)) + "\n"


def pandas_with_index(table: Table) -> str:
    """DataFrame(z).to_csv()"""
    return ",0,1,2\n" + "".join(f"{index},{line}\n" for index, line in enumerate(lines(table)))


def pandas_read_again(table: Table) -> str:
    return pandas_with_index(table).replace(",0,1,2", "Unnamed: 0,0,1,2", 1)


def r_with_row_names(table: Table) -> str:
    """write.csv(z)"""
    rows = "".join(f'"{index + 1}",{line}\n' for index, line in enumerate(lines(table)))
    return '"","V1","V2","V3"\n' + rows


def r_table(table: Table) -> str:
    """write.table(z): row names without a name of their own, spaces"""
    rows = "".join(
        f'"row {index}" {line}\n'.replace("row ", "r") for index, line in enumerate(lines(table, separator=" "))
    )
    return '"V1" "V2" "V3"\n' + rows


def excel_german(table: Table) -> str:
    return "\ufeffa;b;c\r\n" + "\r\n".join(lines(table, separator=";", decimal=",")) + "\r\n"


def excel_old_mac(table: Table) -> str:
    return "a,b,c\r" + "\r".join(lines(table)) + "\r"


def quoted(table: Table) -> str:
    """to_csv(quoting=csv.QUOTE_ALL, index=False)"""
    return '"a","b","c"\n' + "\n".join(",".join(f'"{one!r}"' for one in row) for row in table.tolist())


def tabs_decimal_commas(table: Table) -> str:
    return "\n".join(lines(table, separator="\t", decimal=","))


def spaces(table: Table) -> str:
    """np.savetxt"""
    return "\n".join(lines(table, separator=" "))


WRITERS: list[Callable[[Table], str]] = [
    pandas_without_names, pandas_with_index, pandas_read_again, r_with_row_names, r_table, excel_german, excel_old_mac,
    quoted, tabs_decimal_commas, spaces,
]  # fmt: skip


@pytest.mark.parametrize("writer", WRITERS)
async def test_tables(client: httpx.AsyncClient, writer: Callable[[Table], str]) -> None:
    values, labels = logits(COUNT, CLASSES)
    same = await calibrated(client, logits=values.tolist(), labels=labels.tolist())
    # A series of labels without a name is written with the name 0.
    column = "0\n" + "\n".join(map(str, labels.tolist()))
    for posted in (column, "\n".join(map(str, labels.tolist())), '"label"\r\n' + "\r\n".join(map(str, labels))):
        files = {"logits": writer(values).encode(), "labels": posted.encode()}
        answer = await client.post(CALIBRATIONS, files=files)
        assert answer.status_code == 201, answer.text
        body = answer.json()
        assert (body["n"], body["classes"], body["data_digest"]) == (COUNT, CLASSES, same["data_digest"])
    predicted = await client.post(
        f"{CALIBRATIONS}/{body['id']}/predictions", files={"logits": writer(values[:3]).encode()}
    )
    assert len(predicted.json()["items"]) == 3


async def test_parquet_of_pandas(client: httpx.AsyncClient) -> None:
    pandas = pytest.importorskip("pandas", reason="the optional package pandas is not installed")
    pytest.importorskip("pyarrow", reason="the optional package pyarrow is not installed")
    values, labels = logits(COUNT, CLASSES)
    stream = io.BytesIO()
    frame = pandas.DataFrame(values, columns=["a", "b", "c"])
    frame[frame.a < 100].sort_values("a").sort_index().set_index(np.arange(COUNT) * 2).to_parquet(stream)
    answer = await client.post(CALIBRATIONS, files={"logits": stream.getvalue(), "labels": npy(labels)})
    assert (answer.status_code, answer.json()["classes"]) == (201, CLASSES), answer.text


async def test_what_cannot_be_known_is_refused(client: httpx.AsyncClient) -> None:
    labels = npy(np.arange(4) % 2)
    doubtful = await client.post(CALIBRATIONS, files={"logits": b"0,1\n5,6\n7,8\n9,3\n", "labels": labels})
    assert (doubtful.status_code, pointers(doubtful)) == (422, ["/body/logits"])
    assert "may be the names of columns or an item" in doubtful.json()["detail"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"a,b\n1,2\n3,x\n", "line 3, column 2 is no number: 'x'"),
        (b"1;2\n3;\n", "line 2, column 2 is empty"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 cells, not 2"),
    ],
)
async def test_faults_are_named_by_place(client: httpx.AsyncClient, table: bytes, said: str) -> None:
    answer = await client.post(CALIBRATIONS, files={"logits": table, "labels": npy(np.array([0, 1]))})
    assert answer.status_code == 422
    assert said in answer.json()["detail"], answer.json()["detail"]


async def test_names_of_classes_come_back(client: httpx.AsyncClient) -> None:
    values, labels = logits(COUNT, CLASSES)
    names = ["cat", "dog", "zebra"]
    called = [names[label] for label in labels]
    plain = await calibrated(client, logits=values.tolist(), labels=labels.tolist(), score="aps")
    body = await calibrated(client, logits=values.tolist(), labels=called, class_names=names, score="aps")
    assert (body["class_labels"], body["cells"]) == (names, plain["cells"])
    files = {"logits": npy(values), "labels": ("label\n" + "\n".join(called)).encode()}
    posted = await client.post(CALIBRATIONS, files=files, data={"score": "aps", "class_names": "cat,dog,zebra"})
    assert posted.status_code == 201, posted.text
    assert posted.json()["version"] == body["version"]
    route = f"{CALIBRATIONS}/{body['id']}"
    for item in (await client.post(f"{route}/predictions", json={"logits": values[:9].tolist()})).json()["items"]:
        (one,) = item["sets"]
        assert one["names"] == [names[label] for label in one["labels"]]
    evaluated = await client.post(f"{route}/evaluations", json={"logits": values.tolist(), "labels": called})
    assert evaluated.status_code == 200, evaluated.text
    numbers = await client.post(f"{route}/evaluations", json={"logits": values.tolist(), "labels": labels.tolist()})
    assert numbers.json()["coverage"] == evaluated.json()["coverage"]
    for change, pointer in (
        ({"labels": ["cow", *called[1:]]}, "/body/labels"),
        ({"class_names": names[:2]}, "/body/class_names"),
        ({"class_names": ["cat", "cat", "dog"]}, "/body/class_names"),
        ({"class_names": None}, "/body/labels"),
    ):
        wrong = {"logits": values.tolist(), "labels": called, "class_names": names, **change}
        answer = await client.post(CALIBRATIONS, json=wrong)
        assert (answer.status_code, pointers(answer)) == (422, [pointer]), answer.text


async def test_logits_that_are_probabilities_are_noticed(client: httpx.AsyncClient) -> None:
    rows = np.random.default_rng(0).dirichlet([1, 1, 1], 40)
    body = await calibrated(client, logits=rows.tolist(), labels=rows.argmax(axis=1).tolist())
    assert any("look like probabilities" in one for one in body["warnings"])
    values, labels = logits(40)
    assert not (await calibrated(client, logits=values.tolist(), labels=labels.tolist()))["warnings"]


async def test_other_names_and_defaults_of_the_other_kind(client: httpx.AsyncClient) -> None:
    values, labels = logits(40)
    posted = {"logits": values.tolist(), "labels": labels.tolist()}
    plain = await calibrated(client, **posted)
    assert (await calibrated(client, **posted, score="lac", asymmetric=False))["version"] == plain["version"]
    refused = await client.post(CALIBRATIONS, json={**posted, "asymmetric": True})
    assert pointers(refused) == ["/body/asymmetric"]
    line = {"kind": "regression", "predictions": values[:, 0].tolist(), "targets": values[:, 1].tolist()}
    assert (await calibrated(client, **line, method="split", randomised=True))["kind"] == "regression"


async def test_every_field_of_an_answer_is_described(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    wanted, seen = [], set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if "conformal" in operation.get("tags", []):
                wanted += [(path, one) for one in _references(operation.get("responses", {}))]
    bare = []
    while wanted:
        path, name = wanted.pop()
        if name in seen or name.startswith(("Problem", "Job", "HTTPValidation", "ValidationError", "FieldError")):
            continue
        seen.add(name)
        for field, schema in schemas[name].get("properties", {}).items():
            wanted += [(path, one) for one in _references(schema)]
            if "description" not in schema:
                bare.append(f"{name}.{field}")
    assert len(seen) > 20
    assert bare == []


def _references(part: object) -> list[str]:
    if isinstance(part, list):
        return [name for one in part for name in _references(one)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"].rpartition("/")[2]] if "$ref" in part else []
    return own + [name for one in part.values() for name in _references(one)]


async def test_a_column_is_a_list(client: httpx.AsyncClient) -> None:
    """As NPY (N, 1), so in JSON."""
    values, labels = logits(40, 3)
    flat = await calibrated(client, logits=values.tolist(), labels=labels.tolist())
    column = await calibrated(client, logits=values.tolist(), labels=labels[:, None].tolist())
    assert column["version"] == flat["version"]
    names = ["a", "b", "c"]
    texts = [[names[label]] for label in labels.tolist()]
    named = await calibrated(client, logits=values.tolist(), labels=texts, class_names=names)
    assert named["cells"][0]["thresholds"] == flat["cells"][0]["thresholds"]


async def test_names_of_classes_are_in_cells_strata_and_probabilities(client: httpx.AsyncClient) -> None:
    values, labels = logits(90, 3)
    names = ["cat", "dog", "owl"]
    items = {"logits": values.tolist(), "labels": [names[label] for label in labels]}
    for options, cells in (
        ({"method": "class"}, ["class cat", "class dog", "class owl"]),
        ({"method": "rc3p"}, ["class cat", "class dog", "class owl"]),
        ({"method": "group", "groups": ["x"] * 90, "with_labels": True},
         ["group x, class cat", "group x, class dog", "group x, class owl"]),
    ):  # fmt: skip
        made = await calibrated(client, **items, **options, class_names=names)
        assert [cell["cell"] for cell in made["cells"]] == cells
        paged = await client.get(f"{CALIBRATIONS}/{made['id']}/cells")
        assert [cell["cell"] for cell in paged.json()["cells"]] == cells
        asked = {**items, **({"groups": ["x"] * 90} if "groups" in options else {})}
        answer = await client.post(f"{CALIBRATIONS}/{made['id']}/evaluations", json=asked)
        assert [one["name"] for one in answer.json()["classification"]["by_class"]] == cells[:3] or "groups" in options
    rows = np.random.default_rng(0).dirichlet([1, 1, 1], 90)
    body = {"probabilities": rows.tolist(), "test_probabilities": rows[:4].tolist()}
    numbered = await client.post(VENN_ABERS, json={**body, "labels": labels.tolist()})
    named = await client.post(VENN_ABERS, json={**body, "labels": items["labels"], "class_names": names})
    assert (named.json()["class_names"], numbered.json()["class_names"]) == (names, None)
    assert named.json()["probabilities"] == numbered.json()["probabilities"]
    pairs = {"scores": rows[:, 1].tolist(), "test_scores": [0.2, 0.7]}
    by_number = await client.post(VENN_ABERS, json={**pairs, "labels": (labels == 1).astype(int).tolist()})
    texts = np.where(labels == 1, "dog", "other").tolist()
    by_name = await client.post(VENN_ABERS, json={**pairs, "labels": texts, "class_names": ["other", "dog"]})
    assert by_name.json()["pairs"] == by_number.json()["pairs"]


async def test_training_labels_of_neighbours_may_be_names(client: httpx.AsyncClient) -> None:
    features, labels = logits(120, 3, seed=3)
    names = np.array(["cat", "dog", "owl"])
    body = {"score": "knn", "neighbours": 3, "features": features[60:].tolist(),
            "training_features": features[:60].tolist()}  # fmt: skip
    named = await calibrated(
        client, **body, labels=names[labels[60:]].tolist(), training_labels=names[labels[:60]].tolist()
    )
    numbered = await calibrated(client, **body, labels=labels[60:].tolist(), training_labels=labels[:60].tolist())
    assert (named["class_labels"], numbered["class_labels"]) == (names.tolist(), None)
    asked = {"features": features[:5].tolist()}
    by_name = await client.post(f"{CALIBRATIONS}/{named['id']}/predictions", json=asked)
    by_number = await client.post(f"{CALIBRATIONS}/{numbered['id']}/predictions", json=asked)
    for one, other in zip(by_name.json()["items"], by_number.json()["items"], strict=True):
        assert one["sets"][0]["labels"] == other["sets"][0]["labels"]
        assert one["sets"][0]["names"] == names[other["sets"][0]["labels"]].tolist()
    wrong = await client.post(
        CALIBRATIONS, json={**body, "labels": [0] * 60, "training_labels": [0.5, *labels[1:60].tolist()]}
    )
    assert (wrong.status_code, pointers(wrong)) == (422, ["/body/training_labels"])


def as_parquet(values: list[str], *, categorical: bool = False) -> bytes:
    pyarrow = pytest.importorskip("pyarrow", reason="the optional package pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    column = pyarrow.array(values)
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table({"label": column.dictionary_encode() if categorical else column}), stream)
    return stream.getvalue()


@pytest.mark.parametrize("way", ["csv", "npy", "npy column", "parquet", "parquet categorical"])
async def test_labels_that_are_texts_in_files(client: httpx.AsyncClient, way: str) -> None:
    values, labels = logits(40, 3)
    names = ["cat", "big dog", "owl"]
    texts = [names[label] for label in labels]
    content = {
        "csv": lambda: "\n".join(["label", *texts]).encode(),
        "npy": lambda: npy(np.array(texts)),
        "npy column": lambda: npy(np.array(texts)[:, None]),
        "parquet": lambda: as_parquet(texts),
        "parquet categorical": lambda: as_parquet(texts, categorical=True),
    }[way]()
    parts = {"logits": npy(values), "labels": content, "class_names": npy(np.array(names))}
    answer = await client.post(CALIBRATIONS, files=parts)
    assert answer.status_code == 201, answer.text
    expected = await calibrated(client, logits=values.tolist(), labels=labels.tolist())
    assert answer.json()["class_labels"] == names
    assert answer.json()["cells"] == expected["cells"]


async def test_files_of_texts_that_are_damaged(client: httpx.AsyncClient) -> None:
    values, labels = logits(40, 3)
    whole = npy(np.array([f"class {label}" for label in labels]))
    huge = whole.replace(b"'<U7'", b"'<U9'")  # the header claims more than there is
    names = ",".join(f"class {label}" for label in range(3))
    for content in (whole[:-4], huge):
        answer = await client.post(
            CALIBRATIONS, files={"logits": npy(values), "labels": content}, data={"class_names": names}
        )
        assert (answer.status_code, pointers(answer)) == (422, ["/body/labels"]), answer.text


async def test_parquet_of_texts_that_inflates(client: httpx.AsyncClient) -> None:
    content = as_parquet(["class 0"] * 3_000_000, categorical=True)
    assert len(content) < 100_000
    values, _ = logits(40, 3)
    answer = await client.post(
        CALIBRATIONS, files={"logits": npy(values), "labels": content}, data={"class_names": "class 0,class 1,class 2"}
    )
    assert (answer.status_code, pointers(answer)) == (413, ["/body/labels"])
