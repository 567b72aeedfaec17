"""What a job is, and what it keeps busy."""

from __future__ import annotations

import pytest

from core import Job, PullJob, QuantizeJob, ReproduceJob, lanes_of, model_name
from core.jobs.job import job_from, job_values

JOB = QuantizeJob("/models/模型", "Q4_K_M", "/out/o.gguf", threads=2)
AGAIN = ReproduceJob("/out/o.gguf", "/models/模型", "/out/.snug-reproduce-1")


@pytest.mark.parametrize("job", [JOB, AGAIN, PullJob("hub:org/name@main:Q4_K_M", "*.gguf", 2)])
def test_a_job_comes_back_from_its_values(job: Job) -> None:
    assert job_from(job_values(job)) == job


def test_values_of_an_older_version_are_a_quantization() -> None:
    assert job_from({"source": "s", "recipe": "Q8_0", "target": "o"}) == QuantizeJob("s", "Q8_0", "o")


@pytest.mark.parametrize(
    "values",
    [None, 5, [], {}, {"kind": "bake", "source": "s"}, {"kind": [], "source": "s"}, {"kind": "pull", "recipe": "x"},
     {"kind": "pull", "source": 5}],
)  # fmt: skip
def test_what_is_no_job_is_refused(values: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        job_from(values)


@pytest.mark.parametrize(
    ("job", "lanes"),
    [
        (JOB, {"compute"}),
        (QuantizeJob("hub:org/name", "Q8_0", "/o"), {"compute", "network"}),
        (PullJob("org/name"), {"network"}),
        (AGAIN, {"compute"}),
    ],
)
def test_a_job_keeps_its_lanes_busy(job: Job, lanes: set[str]) -> None:
    assert lanes_of(job) == lanes


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/models/Qwen3-4B", "Qwen3-4B"),
        ("/c/hub/models--Qwen--Qwen3-4B/snapshots/0123456789abcdef0123456789abcdef01234567", "Qwen/Qwen3-4B"),
        ("/c/models--gpt2/snapshots/abc/model.gguf", "gpt2"),
        ("hub:org/name@main:Q4_K_M", "org/name"),
        ("/my/models--folder", "models--folder"),
    ],
)
def test_a_model_is_called_what_people_call_it(source: str, name: str) -> None:
    assert model_name(source) == name
