"""What several operations say alike is said once, in `components`: parameters, and the problems they answer with.

Generated clients then have one class for a problem, and the document is half as long.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from gateway.documents.merging import Document, operations
from shared.problems import PROBLEM_MEDIA_TYPE


def share_components(document: Document) -> None:
    """Move parameters and problems of a document into its `components`; operations name them."""
    components = document.setdefault("components", {})
    parameters, responses = _Shelf("parameters"), _Shelf("responses")
    for operation in operations(document):
        operation["parameters"] = [parameters.put(item, _parameter_name) for item in operation.get("parameters", [])]
        answers = operation.get("responses", {})
        for status, answer in answers.items():
            if PROBLEM_MEDIA_TYPE in answer.get("content", {}):
                answers[status] = responses.put(answer, _problem_name)
    components["parameters"], components["responses"] = parameters.items, responses.items
    for operation in operations(document):
        for body in operation.get("requestBody", {}).get("content", {}).values():
            _name_kinds(body.get("schema", {}), components.setdefault("schemas", {}))


def _name_kinds(schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Give the objects of a `oneOf` names, and say which field tells them apart: a discriminator reads no others.

    The field is the one that has a constant in each of them (OpenAPI 3.1, section 4.8.25).
    """
    kinds = {kind.get("title", ""): kind for kind in schema.get("oneOf", [])}
    telling = set.intersection(*map(_constants, kinds.values())) if len(kinds) > 1 else set()
    if not telling or any(not name or schemas.get(name, kind) != kind for name, kind in kinds.items()):
        return
    schemas.update(kinds)
    field = min(telling)
    references = {kind["properties"][field]["const"]: f"#/components/schemas/{name}" for name, kind in kinds.items()}
    schema["oneOf"] = [{"$ref": reference} for reference in references.values()]
    schema["discriminator"] = {"propertyName": field, "mapping": references}


def _constants(kind: Mapping[str, Any]) -> set[str]:
    return {name for name, one in kind.get("properties", {}).items() if "const" in one}


class _Shelf:
    """Different contents by name, under one section of `components`."""

    def __init__(self, section: str) -> None:
        self.section = section
        self.items: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        self._uses: Counter[str] = Counter()

    def put(self, content: Mapping[str, Any], name_of: Callable[[Mapping[str, Any]], str]) -> dict[str, str]:
        """A reference to this content; the second content of a name is numbered."""
        text = json.dumps(content, sort_keys=True)
        if text not in self._names:
            wanted = name_of(content)
            self._uses[wanted] += 1
            number = self._uses[wanted]
            self._names[text] = name = wanted if number == 1 else f"{wanted}-{number}"
            self.items[name] = dict(content)
        return {"$ref": f"#/components/{self.section}/{self._names[text]}"}


def _parameter_name(parameter: Mapping[str, Any]) -> str:
    return _camel(f"{parameter['name']}-{parameter['in']}")


def _problem_name(answer: Mapping[str, Any]) -> str:
    """`NotFound` of the type `/problems/not-found`; a response without an example is any problem."""
    kind = str(answer["content"][PROBLEM_MEDIA_TYPE].get("example", {}).get("type", "any-problem"))
    return _camel(re.split("[/#]", kind)[-1])


def _camel(text: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in text.replace("_", "-").split("-") if part)
