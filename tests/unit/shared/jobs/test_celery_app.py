from __future__ import annotations

from shared.jobs.celery_app import KEY_PREFIX, create_celery
from shared.jobs.kinds import queues_of
from shared.settings import Settings


def test_settings_that_jobs_rely_on() -> None:
    settings = Settings(visibility_timeout_s=1234)
    conf = create_celery(settings).conf
    assert conf.accept_content == ["json"]
    assert conf.task_serializer == "json"
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.task_ignore_result
    assert conf.worker_prefetch_multiplier == 1
    assert not conf.task_create_missing_queues
    assert conf.broker_transport_options["visibility_timeout"] == 1234
    assert conf.broker_transport_options["global_keyprefix"] == KEY_PREFIX


def test_every_domain_has_its_queues() -> None:
    declared = {queue.name for queue in create_celery(Settings(), queues=["lab.onnx"]).conf.task_queues}
    assert declared == {*queues_of("onnx"), *queues_of("torch"), "lab.onnx"}
