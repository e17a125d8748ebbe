"""One OpenAPI 3.1 document out of the gateway's own and those of the services.

Equal components are shared, different ones of the same name are prefixed with their domain. Each service keeps its
health and metrics to itself: those routes are not reachable through the gateway.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.edge.formats import describe_formats
from gateway.idempotency.documentation import describe_keys
from shared.problems import BadGateway, ContentTooLarge, GatewayTimeout, ServiceUnavailable, problem_responses

Document = dict[str, Any]

_REFERENCE = "#/components/"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_IGNORED_HEADERS = frozenset({"accept", "content-type", "authorization"})
"""Documented as header parameters they are to be ignored (OpenAPI 3.1, section 4.8.12.1): media types say it."""

_ANY_PROBLEM = {
    "description": "Any other problem",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
}


def merge(own: Document, services: Mapping[str, Document | str], *, tags: Mapping[str, str]) -> Document:
    """The document of the whole fleet.

    Args:
        own: the gateway's document, with `info` and the component ProblemDetails.
        services: by domain, the service's document, or why there is none.
        tags: descriptions of tags in the order in which they are listed; what only services name comes first.
    """
    merged = copy.deepcopy(own)
    described: dict[str, str] = {}
    for domain, document in services.items():
        if isinstance(document, str):
            merged.setdefault("x-unavailable", {})[domain] = document
        else:
            _add(merged, domain, document, described)
    for operation in operations(merged):
        operation["parameters"] = [item for item in operation.get("parameters", []) if not _is_ignored(item)]
        operation.setdefault("responses", {}).setdefault("default", _ANY_PROBLEM)
        _exclude_alternatives(operation["responses"])
    describe_keys(merged)
    _share_identifiers(merged)
    described = {name: text for name, text in described.items() if name not in tags} | dict(tags)
    told = {"paths": {**merged["paths"], **merged.get("webhooks", {})}}
    used = {tag for operation in operations(told) for tag in operation.get("tags", [])}
    merged["tags"] = [{"name": tag, "description": text} for tag, text in described.items() if tag in used]
    _describe_tuples(merged)
    merged["openapi"] = "3.1.0"
    merged["servers"] = [{"url": "/", "description": "This gateway"}]
    return merged


def operations(document: Document) -> Iterator[dict[str, Any]]:
    """All operations of a document."""
    for item in document.get("paths", {}).values():
        yield from (item[method] for method in _METHODS if method in item)


def _add(merged: Document, domain: str, document: Document, described: dict[str, str]) -> None:
    own, common = f"/v1/{domain}/", "/v2/models/"
    paths = {
        path: item
        for path, item in document.get("paths", {}).items()
        if path.startswith(own) or (path.startswith(common) and path not in merged["paths"])
    }
    components = _reachable(paths, document.get("components", {}))
    renamed = _clashes(components, merged.get("components", {}), domain)
    for (section, name), content in components.items():
        target = merged.setdefault("components", {}).setdefault(section, {})
        called = renamed.get((section, name), name)
        target[called] = _rewritten(content, renamed)
        if called != name and "title" in content:
            target[called]["title"] = called  # by which generators of clients name what they make
    for path, item in paths.items():
        merged["paths"][path] = _rewritten(item, renamed)
        for method in _METHODS:
            if method in item:
                _document_hop(merged["paths"][path][method], domain)
                describe_formats(merged["paths"][path][method])
    own_texts = {tag["name"]: tag.get("description", "") for tag in document.get("tags", [])}
    fallback = document.get("info", {}).get("description", "")
    for operation in operations({"paths": paths}):
        for tag in operation.get("tags", []):
            described.setdefault(tag, own_texts.get(tag) or fallback)


def _document_hop(operation: dict[str, Any], domain: str) -> None:
    """What the gateway itself answers in place of the service."""
    kinds = [BadGateway, ServiceUnavailable, GatewayTimeout]
    if "requestBody" in operation:
        kinds.append(ContentTooLarge)
    for status, response in problem_responses(*kinds).items():
        operation.setdefault("responses", {}).setdefault(str(status), response)
    operation.setdefault("tags", [domain])


def _exclude_alternatives(responses: Mapping[str, Any]) -> None:
    """Say that an answer is one of two things and never both: what was asked for, or the job that makes it.

    No field tells them apart by a constant, so there is no discriminator; each requires fields that the other lacks.
    """
    for response in responses.values():
        for content in response.get("content", {}).values():
            kinds = content.get("schema", {}).get("anyOf", ())
            if len(kinds) > 1 and all("$ref" in kind for kind in kinds):
                content["schema"]["oneOf"] = content["schema"].pop("anyOf")


def _is_ignored(parameter: Mapping[str, Any]) -> bool:
    return parameter.get("in") == "header" and parameter.get("name", "").lower() in _IGNORED_HEADERS


def _describe_tuples(content: Any) -> None:
    """Say of arrays of a fixed length what `items` are: generators of clients do not read `prefixItems` alone."""
    if isinstance(content, dict):
        places = content.get("prefixItems")
        if content.get("type") == "array" and isinstance(places, list) and "items" not in content:
            kinds = [{key: value for key, value in one.items() if key != "title"} for one in places]
            different = [one for index, one in enumerate(kinds) if one not in kinds[:index]]
            content["items"] = different[0] if len(different) == 1 else {"anyOf": different}
            if len(different) == 1:
                del content["prefixItems"]
    for inner in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        _describe_tuples(inner)


def _share_identifiers(merged: Document) -> None:
    """Operation ids must be unique (section 4.8.10); a second use of one is numbered."""
    seen: dict[str, int] = {}
    for operation in operations(merged):
        identifier = operation.get("operationId")
        if identifier is not None:
            seen[identifier] = seen.get(identifier, 0) + 1
            if seen[identifier] > 1:
                operation["operationId"] = f"{identifier}-{seen[identifier]}"


Component = tuple[str, str]
"""Section and name, such as ("schemas", "ProblemDetails")."""


def _references(content: Any) -> set[Component]:
    """Components that this content names, in $ref or in the mapping of a discriminator."""
    found: set[Component] = set()

    def note(text: str) -> str:
        section, _, name = text.removeprefix(_REFERENCE).partition("/")
        found.add((section, name))
        return text

    _map_references(content, note)
    return found


def _map_references(content: Any, change: Callable[[str], str]) -> Any:
    if isinstance(content, dict):
        return {key: _map_references(value, change) for key, value in content.items()}
    if isinstance(content, list):
        return [_map_references(value, change) for value in content]
    if isinstance(content, str) and content.startswith(_REFERENCE):
        return change(content)
    return content


def _rewritten(content: Any, renamed: Mapping[Component, str]) -> Any:
    """A copy that names components as they are called in the merged document."""

    def change(text: str) -> str:
        section, _, name = text.removeprefix(_REFERENCE).partition("/")
        return f"{_REFERENCE}{section}/{renamed.get((section, name), name)}"

    return _map_references(content, change)


def _reachable(paths: Document, sections: Mapping[str, Mapping[str, Any]]) -> dict[Component, Any]:
    """Components that the paths need, directly or through others."""
    found: dict[Component, Any] = {}
    open_ends = sorted(_references(paths))
    while open_ends:
        section, name = open_ends.pop()
        content = sections.get(section, {}).get(name)
        if content is not None and (section, name) not in found:
            found[section, name] = content
            open_ends += sorted(_references(content))
    return found


def _clashes(
    components: Mapping[Component, Any], known: Mapping[str, Mapping[str, Any]], domain: str
) -> dict[Component, str]:
    """New names of components that are different from what has their name, or refer to one that is."""
    prefix = domain.title()
    renamed: dict[Component, str] = {}
    for component, content in components.items():
        section, name = component
        if known.get(section, {}).get(name, content) != content:
            renamed[component] = prefix + name
    grown = True
    while grown:
        grown = False
        for component, content in components.items():
            section, name = component
            taken = name in known.get(section, {})
            if taken and component not in renamed and not _references(content).isdisjoint(renamed):
                renamed[component] = prefix + name
                grown = True
    return renamed
