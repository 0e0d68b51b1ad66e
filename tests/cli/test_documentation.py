"""What the pages tell people to type exists, and their programs run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

import vmops.cli.errors
from tests.cli.conftest import Command
from vmops.cli.main import cli
from vmops.lab import Lab

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:\w+=\S+ )*vmops [^`]+)`")


def blocks(page: Path, *languages: str) -> list[str]:
    return [code for language, code in BLOCK.findall(page.read_text()) if language in languages]


def command_lines() -> list[tuple[str, str]]:
    """Every line with a `vmops` command: of shell blocks, of sessions, of the text itself."""
    found = []
    for page in PAGES:
        lines = [line for code in blocks(page, "sh") for line in code.splitlines()]
        for session in blocks(page, "console"):
            lines += [line[2:] for line in session.splitlines() if line.startswith("$ ")]
        lines += INLINE.findall(BLOCK.sub("", page.read_text()))
        found += [(page.name, line) for line in lines if re.search(r"(^|[\s(])vmops ", line)]
    return found


def words_of_vmops(line: str) -> list[str]:
    """The words behind `vmops`, up to what the shell does with the output."""
    line = line.replace("...", "").replace('eval "$(', "").replace(')"', "").replace("=$(", " ")
    words = shlex.split(line.rstrip(")"), comments=True)
    words = words[words.index("vmops") + 1 :]
    end = next((at for at, word in enumerate(words) if word in {"|", ">", "&&"}), len(words))
    return words[:end]


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_a_command_that_a_page_shows_exists(page: str, line: str) -> None:
    words = words_of_vmops(line)
    context = click.Context(cli, info_name="vmops")
    command: click.Command = cli
    options = {name for param in cli.params for name in param.opts}
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        inner = command.get_command(context, name)
        assert inner is not None, f"{page}: there is no command {name!r}: {line}"
        command = inner
    options |= {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    options |= {"--help", "-h"}
    unknown = [word for word in words if word.startswith("-") and word.split("=")[0] not in options]
    assert unknown == [], f"{page}: {line}"


def programs() -> list[tuple[str, str]]:
    return [(page.name, code) for page in PAGES for code in blocks(page, "python")]


def test_there_is_something_to_check() -> None:
    assert len(command_lines()) > 30
    assert {"README.md", "tutorial.md", "lab.md"} <= {page for page, _ in programs()}


@pytest.mark.parametrize(
    ("page", "code"),
    [one for one in programs() if "VMOPS_URL" in one[1]],
    ids=lambda text: text[:9],
)
def test_a_program_that_a_page_shows_runs(
    vmops: Command, lab: Lab, boot_sector: Path, page: str, code: str
) -> None:
    images = Path(vmops.env["VMOPS_STATE_DIR"]) / "images"
    if not (images / "tiny.yaml").exists():
        assert vmops("image", "add", str(boot_sector), "--name", "tiny").code == 0
    own = {"VMOPS_IMAGES": str(images), "VMOPS_CA_FILE": str(lab.certificate_file)}
    process = vmops.with_env(**own).start(program=[sys.executable, "-c", code])
    ended = vmops.finish(process)
    assert ended.code == 0, ended.err
    assert "InstanceInfo(" in ended.out
    assert vmops("list", "-o", "json").json == []


def test_the_lab_in_a_program(tmp_path: Path) -> None:
    (code,) = [code for code in blocks(PROJECT / "docs/lab.md", "python") if "Lab.run" in code]
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("https://127.0.0.1:")
    assert (tmp_path / "lab-state" / "inventory.json").exists()


def test_the_page_of_operations_is_what_the_code_says() -> None:
    script = [sys.executable, "scripts/generate_docs.py", "--check"]
    run = subprocess.run(script, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_the_exit_codes_of_the_page_are_those_of_the_command() -> None:
    table = re.compile(r"^\| (\d+) \|", re.MULTILINE)
    told = set(table.findall((PROJECT / "docs/tutorial.md").read_text()))
    made = re.findall(r"^(\d+) ", vmops.cli.errors.__doc__ or "", re.MULTILINE)
    assert told == set(made)
    assert {str(code) for _, code in vmops.cli.errors.EXIT_CODES} < told


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["lab"]]
    names = [re.split(r"[><=\[ ]", one)[0] for one in needed]
    page = (PROJECT / "docs/design.md").read_text()
    assert [name for name in names if f"\n| `{name}`" not in page] == []
