"""The workflows of CI run nothing that somebody else can change under the same name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.y*ml"))
LOCKS = {name: ROOT / ".github" / name for name in ("locked.txt", "locked-audit.txt")}
FREE = re.compile(r"PIP_(EXTRA_)?INDEX_URL|--extra-index-url|PIP_FIND_LINKS|--trusted-host")
PINNED = re.compile(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
PIPED = re.compile(r"(curl|wget)[^\n]*\|\s*(ba)?sh")


def problems(text: str) -> list[str]:
    """The faults of one workflow, or of the Makefile that it calls."""
    result = [f"{match.group()}: an index for every package" for match in FREE.finditer(text)]
    result += [f"{match.group()}: runs what it downloads" for match in PIPED.finditer(text)]
    for action in re.findall(r"uses: *(.*)", text):
        if not PINNED.fullmatch(action.strip()) and not action.startswith("./"):
            result.append(f"{action}: not pinned by a commit with its version beside it")
    for line in text.splitlines():
        if "pip install" in line:
            is_torch = line.endswith("-c constraints.txt torch")
            is_local = "--no-deps --no-build-isolation -e ." in line
            if not ("--require-hashes" in line or is_torch or is_local):
                result.append(f"{line.strip()}: packages without hashes")
            if "--index-url" in line and not is_torch:
                result.append(f"{line.strip()}: an index for more than torch")
    return result


def locked(text: str) -> dict[str, str]:
    """The version of each package of a lock; an entry without a hash is missing."""
    entries = re.findall(
        r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", text, re.M
    )
    return {name: version for name, version, _ in entries}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_takes_pinned_actions_and_hashed_packages(path):
    text = path.read_text()
    assert not problems(text)
    content: dict[str, Any] = yaml.safe_load(text)
    assert content["permissions"] == {"contents": "read"}
    for job in content["jobs"].values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
            if step.get("run", "").startswith("make "):
                names = [s.get("run") for s in job["steps"]]
                assert names.index("make locked") <= names.index(step["run"])
        if any("TORCH_CPU_INDEX" in str(part) for part in (job.get("env"), content.get("env"))):
            pytest.fail("the index of torch is set for steps that install more than torch")


def test_one_workflow_looks_for_known_vulnerabilities_of_every_pinned_package():
    audits = [path for path in WORKFLOWS if "pip-audit" in path.read_text()]
    assert len(audits) == 1 and "-r constraints.txt" in audits[0].read_text()
    assert "schedule" in audits[0].read_text()
    assert "pip-audit" in locked(LOCKS["locked-audit.txt"].read_text())


def test_the_makefile_installs_with_hashes_where_ci_calls_it():
    rules = dict(re.findall(r"^(\w+):.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M))
    assert rules["locked"].count("pip install") == 3 and not problems(rules["locked"])


@pytest.mark.parametrize("name", LOCKS)
def test_every_entry_of_a_lock_has_a_version_and_a_hash(name):
    text = LOCKS[name].read_text()
    names = [line for line in text.splitlines() if line and line[0] not in "# "]
    assert len(locked(text)) == len(names) > 20


def test_the_lock_has_the_versions_of_the_constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    versions = {normal(n): v for n, v in (line.split("==") for line in lines if line)}
    entries = locked(LOCKS["locked.txt"].read_text())
    assert entries.pop("setuptools")  # builds the project itself
    assert versions.pop("torch")  # from its own index
    assert entries == versions


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- uses: actions/checkout@v4", "not pinned"),
        ("- uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683", "not pinned"),
        ("- uses: actions/checkout@11bd719 # v4.2.2", "not pinned"),
        ("env:\n  PIP_EXTRA_INDEX_URL: x", "every package"),
        ("- run: pip install --extra-index-url x -c constraints.txt torch", "every package"),
        ("- run: pip install -r constraints.txt", "without hashes"),
        ("- run: pip install --index-url x --require-hashes -r a.txt", "more than torch"),
        ("- run: curl https://x | sh", "runs what it downloads"),
    ],
)
def test_a_fault_of_a_workflow_is_noticed(text, fault):
    assert any(fault in problem for problem in problems(text))


def test_an_entry_without_a_hash_is_noticed():
    good = f"a==1 \\\n    --hash=sha256:{'0' * 64}\n"
    assert locked(good) == {"a": "1"} and not locked("a==1\n") and not locked(good[:-2] + "\n")
