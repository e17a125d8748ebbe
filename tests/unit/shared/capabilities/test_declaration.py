"""What a declaration may say, and what is refused where it is written."""

from __future__ import annotations

from typing import Any

import pytest

from shared.capabilities.collection import BodyLimits, Capabilities
from shared.capabilities.declaration import AccessRule, BodyLimit, Capability, FileType, Sample, SampleFile, Scope, Tag
from shared.capabilities.references import load_reference
from shared.jobs.kinds import JobKind
from shared.memory import MemoryBudget
from shared.settings import Settings

BUDGET = MemoryBudget(idle_mib=1, used_mib=2)
RUN, READ = Scope(name="attack:run", allows="attack"), Scope(name="attack:read", allows="read")


def capability(name: str = "toy", **parts: Any) -> Capability:
    usual: dict[str, Any] = {"name": name, "domain": "security", "memory": BUDGET}
    return Capability(**(usual | parts))


def kind(queue: str = "security.onnx", function: str = "math:sqrt") -> JobKind:
    return JobKind(name="security.toys", queue=queue, function=function, title="A toy")


@pytest.mark.parametrize("reference", ["math.sqrt", "math:", ":sqrt", "a:b:c", "a b:c", "math:sqrt.x", ""])
@pytest.mark.parametrize("part", ["routers", "warm_ups", "direct_routes"])
def test_references_have_one_form(reference: str, part: Any) -> None:
    with pytest.raises(ValueError, match="module:attribute"):
        capability("toy", **{part: (reference,)})
    with pytest.raises(ValueError, match="module:attribute"):
        capability(state=reference)


def test_a_reference_is_imported_when_it_is_needed() -> None:
    assert load_reference("math:pi") == pytest.approx(3.14159, abs=1e-5)
    with pytest.raises(ImportError):
        load_reference("no_such_module:x")
    with pytest.raises(AttributeError):
        load_reference("math:no_such_thing")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"name": "Toy"}, "no name of a capability"),
        ({"kinds": (kind("medical.onnx"),)}, "waits in medical.onnx"),
        ({"kinds": (kind(function="services.security.toy.optimisation.descent:descend"),)}, "has no torch"),
        ({"scopes": (RUN,), "access": (AccessRule(path="/v1/security/x", reading=READ.name, running=RUN.name),)},
         "not declared: attack:read"),
        ({"scopes": (RUN, READ),
          "access": (AccessRule(path="/v1/medical/x", reading="attack:read", running="attack:run"),)},
         "not below /v1/security/"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        capability(**parts)


@pytest.mark.parametrize("path", ["/v1/security/", "v1/x", "/", "", "/v1/.*", "/v1/a b"])
def test_paths_are_plain(path: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        AccessRule(path=path, reading="a:b", running="a:b")
    with pytest.raises(ValueError, match="no path"):
        BodyLimit(path=path, most_bytes=lambda: 1)


@pytest.mark.parametrize("name", ["admin", "attack", "attack:", "Attack:run", "attack:*", "a:b:c"])
def test_scopes_have_a_family_and_a_verb(name: str) -> None:
    with pytest.raises(ValueError, match="is no scope"):
        Scope(name=name, allows="-")


def test_file_types_are_a_media_type_and_an_extension() -> None:
    with pytest.raises(ValueError, match="not a media type"):
        FileType(media_type="mp4", extension="mp4")
    with pytest.raises(ValueError, match="not a media type"):
        FileType(media_type="video/mp4", extension=".mp4")


@pytest.mark.parametrize("parts", [{}, {"form": {"a": "1"}, "json": {}}])
def test_a_sample_is_a_form_or_json(parts: dict[str, Any]) -> None:
    assert Sample(title="-", path="/v1/security/toys", json={}).json == {}
    with pytest.raises(ValueError, match="either a form or a JSON body"):
        Sample(title="-", path="/v1/security/toys", **parts)


def sample(name: str, make: str) -> Sample:
    return Sample(title="-", path="/v1/security/toys", files={"file": SampleFile(name=name, make=make)})


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"kinds": (kind(),)}, "kind of job security.toys"),
        ({"tag": Tag(name="toys", description="-", order=1)}, "tag toys"),
        ({"file_types": (FileType(media_type="video/mp4", extension="mp4"),)}, "media type video/mp4"),
        ({"body_limits": (BodyLimit(path="/v1/security/toys", most_bytes=lambda: 1),)}, "path of a body limit"),
        ({"scopes": (RUN, READ),
          "access": (AccessRule(path="/v1/security/toys", reading="attack:read", running="attack:run"),)},
         "path of an access rule"),
    ],
)  # fmt: skip
def test_what_two_capabilities_claim_is_refused(part: dict[str, Any], said: str) -> None:
    Capabilities((capability(**part),))
    with pytest.raises(ValueError, match=said):
        Capabilities((capability(**part), capability("other", **part)))


def test_two_capabilities_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="capability security/toy"):
        Capabilities((capability(), capability()))
    assert len(Capabilities((capability(), capability(domain="medical")))) == 2


def test_one_sample_file_has_one_content() -> None:
    same = capability(samples=(sample("a.png", "a:b"), sample("a.png", "a:b")))
    assert len(Capabilities((same,)).sample_files) == 2
    with pytest.raises(ValueError, match=r"sample file a\.png"):
        Capabilities((capability(samples=(sample("a.png", "a:b"), sample("a.png", "a:c"))),))


def test_body_limits_hold_for_a_path_and_all_below() -> None:
    limits = BodyLimits(10, {"/v1/a": 20, "/v1/a/deep": 30})
    found = {path: limits(path) for path in ("/v1/a", "/v1/a/x", "/v1/a/deep", "/v1/a/deep/x", "/v1/ab", "/v1", "/")}
    assert found == {
        "/v1/a": 20, "/v1/a/x": 20, "/v1/a/deep": 30, "/v1/a/deep/x": 30, "/v1/ab": 10, "/v1": 10, "/": 10
    }  # fmt: skip


def test_a_declared_limit_is_never_below_the_usual_one() -> None:
    declared = Capabilities((capability(body_limits=(BodyLimit(path="/v1/security/toys", most_bytes=lambda: 50),)),))
    assert declared.body_limits(Settings(upload_limit_bytes=10))("/v1/security/toys") == 50
    assert declared.body_limits(Settings(upload_limit_bytes=100))("/v1/security/toys") == 100


def test_chapters_are_listed_by_their_order() -> None:
    tags = [Tag(name=name, description=name.upper(), order=order) for name, order in (("b", 1), ("a", 2), ("c", 0))]
    declared = Capabilities(capability(tag.name, tag=tag) for tag in tags)
    assert list(declared.tags) == ["c", "b", "a"]
    assert declared.tags["a"] == "A"
