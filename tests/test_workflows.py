"""The workflows of continuous integration: they load, ask for what exists, and give nobody more than is needed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from zoo.config.overrides import settings
from zoo.files import PROJECT

FOLDER = PROJECT / ".github" / "workflows"
NAMES = sorted(path.name for path in FOLDER.glob("*.yml"))

WORKFLOW = {"name", "on", "permissions", "concurrency", "env", "jobs"}
JOB = {"needs", "if", "runs-on", "timeout-minutes", "strategy", "env", "permissions", "steps", "uses", "with"}
STEP = {"name", "if", "uses", "with", "env", "run", "continue-on-error"}
EVENTS = {"pull_request", "push", "schedule", "workflow_dispatch", "workflow_call"}
"""Not `pull_request_target`: it runs with rights that the code of a pull request must not have."""

OF_THIS_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"

MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")


def load(name: str) -> dict[str, Any]:
    workflow: dict[Any, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    # YAML 1.1 reads the key `on` as true.
    return {"on" if key is True else key: value for key, value in workflow.items()}


def jobs(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(name)["jobs"]
    return found


def steps(name: str) -> Iterator[dict[str, Any]]:
    for job in jobs(name).values():
        yield from job.get("steps", [])


@pytest.mark.parametrize("name", NAMES)
def test_no_key_is_unknown(name: str) -> None:
    workflow = load(name)
    assert workflow.keys() <= WORKFLOW
    assert set(workflow["on"]) <= EVENTS
    for job in jobs(name).values():
        assert job.keys() <= JOB
        assert ("uses" in job) != ("steps" in job)
        assert {job["needs"]} <= jobs(name).keys() if "needs" in job else True
    for step in steps(name):
        assert step.keys() <= STEP
        assert ("uses" in step) != ("run" in step)


@pytest.mark.parametrize("name", NAMES)
def test_what_runs_is_there(name: str) -> None:
    for step in steps(name):
        run = step.get("run", "")
        for target in re.findall(r"\bmake ([a-z-]+)", run):
            assert re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE), target
        for script in re.findall(r"^\.\S+", run):
            assert (PROJECT / script).is_file()
    for job in jobs(name).values():
        if job.get("uses", "").startswith("./"):
            assert (PROJECT / job["uses"]).is_file()
        for setting in job.get("env", {}).get("ARGS", "").split():
            assert setting.partition("=")[0] in settings()
        # Each is a variable of the Makefile, which takes it from the environment.
        for variable in job.get("env", {}):
            assert re.search(rf"^{variable} \?=", MAKEFILE, flags=re.MULTILINE), variable


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_by_their_commit_with_the_version_beside_it(name: str) -> None:
    lines = [line.strip() for line in (FOLDER / name).read_text(encoding="utf-8").splitlines() if "uses:" in line]
    for line in lines:
        assert re.fullmatch(r"(- )?uses: (\./\S+|[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)", line), line


@pytest.mark.parametrize("name", NAMES)
def test_no_text_of_a_pull_request_becomes_a_command(name: str) -> None:
    for step in steps(name):
        assert "${{" not in step.get("run", "")
        assert "${{" not in step.get("with", {}).get("script", "")


@pytest.mark.parametrize("name", NAMES)
def test_a_job_that_may_write_runs_no_code_of_the_pull_request(name: str) -> None:
    assert load(name)["permissions"] in ({}, {"contents": "read"})
    for job in jobs(name).values():
        if "permissions" not in job:
            continue
        assert job["permissions"] == {"pull-requests": "write"}
        used = [step.get("uses", "") for step in job.get("steps", [])]
        assert not any("checkout" in action or not action for action in used)
        if "uses" in job:
            assert OF_THIS_REPOSITORY in job["if"]


def test_code_of_forks_never_comes_to_a_runner_of_ones_own() -> None:
    for name in NAMES:
        for job in jobs(name).values():
            if "self-hosted" in job.get("runs-on", ()):
                condition = " ".join(job["if"].split())
                assert "github.event_name == 'pull_request' && " + OF_THIS_REPOSITORY in condition
                assert "push" not in condition


def test_the_results_are_measured_and_kept_on_both_machines() -> None:
    found = jobs("results.yml")
    for machine, entries, device in (("cpu", "shapes", "cpu"), ("gpu", "*", "cuda")):
        job = found[machine]
        assert job["env"]["ENTRIES"] == f"${{{{ inputs.entries || '{entries}' }}}}"
        assert job["env"]["DEVICE"] == device
        (upload,) = (step for step in job["steps"] if "upload-artifact" in step.get("uses", ""))
        assert upload["if"] == "always()", "red results are the ones to look at"
        assert upload["with"]["name"] == found[f"comment-{machine}"]["with"]["artifact"]
        assert upload["with"]["path"].split() == [
            "${{",
            "env.CI_DIR",
            "}}/results",
            "${{",
            "env.CI_DIR",
            "}}/results.md",
        ]
    assert {step["run"] for step in found["cpu"]["steps"] if "run" in step} == {"make ci-results"}
