"""Rules that hold across the modules and files, read from their text."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "runner").glob("*.py")}

# Each module imports only those before it.
ORDER = (
    "errors",
    "tensors",
    "catalogue",
    "arguments",
    "graph",
    "strict",
    "model_config",
    "probe_config",
    "config",
    "schema",
    "yaml_files",
    "loading",
    "resolve",
    "compose",
    "backend",
    "seeding",
    "model",
    "preflight",
    "probe",
    "memory_sources",
    "array_files",
    "table_files",
    "image_files",
    "sources",
    "layout",
    "selection",
    "reductions",
    "calls",
    "inventory",
    "capture",
    "showing",
    "statistics",
    "formats",
    "columns",
    "tables",
    "publication",
    "environment",
    "record",
    "probe_table",
    "saving",
    "experiment",
    "activations",
    "published_run",
    "runs",
    "locate",
    "figures",
    "dense",
    "story",
    "screen",
    "explain",
    "api",
    "progress",
    "commands",
    "entry",
    "__init__",
    "__main__",
)
# These import Keras when they are imported; no other module imports them at its top.
LOADS_KERAS = {
    "seeding",
    "model",
    "calls",
    "reductions",
    "inventory",
    "capture",
    "showing",
    "saving",
    "activations",
}


def imported(module: str) -> set[str]:
    """Full names of what the module imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(SOURCES[module])):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_imports_run_one_way() -> None:
    assert sorted(SOURCES) == sorted(ORDER)
    for module in ORDER:
        own = {name.split(".")[1] for name in imported(module) if name.startswith("runner.")}
        later = own & set(ORDER[ORDER.index(module) :])
        assert not later, f"{module} imports {later}"


def test_omegaconf_stays_at_the_boundary() -> None:
    users = {
        module
        for module in SOURCES
        if any(name.startswith("omegaconf") for name in imported(module))
    }
    assert users <= {"loading", "resolve", "compose", "entry"}


def test_the_other_modules_load_without_tensorflow_and_keras() -> None:
    others = [f"runner.{name}" for name in {*SOURCES} - LOADS_KERAS if not name.startswith("__")]
    code = f"import sys, {', '.join(others)}; print({{'tensorflow', 'keras'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


def test_no_public_function_bears_the_name_of_a_module() -> None:
    functions = {
        node.name
        for source in SOURCES.values()
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }
    assert not functions & set(SOURCES)


def test_modules_stay_short() -> None:
    assert not {name for name, source in SOURCES.items() if source.count("\n") > 400}


def test_no_file_names_a_machine_or_a_registry() -> None:
    forbidden = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/|pypi[.]org|python[h]osted")
    patterns = [
        ".ci/run",
        *("*" + end for end in (".py", ".md", ".toml", ".txt", ".yaml", ".json")),
    ]
    folders = ["runner", "conf", "hydra_plugins", "tests", "docs", "examples", "benchmarks"]
    files = [path for pattern in patterns for path in ROOT.glob(pattern)]
    files += [
        path
        for folder in folders
        for pattern in patterns[1:]
        for path in (ROOT / folder).rglob(pattern)
    ]
    found = {
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in files
        for match in forbidden.finditer(path.read_text(encoding="utf-8"))
    }
    assert not found


def test_the_oldest_versions_tested_are_the_lower_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    constraints = (ROOT / "constraints-floor.txt").read_text(encoding="utf-8")
    tested = dict(re.findall(r"^([\w-]+)==(\S+)$", constraints, re.M))
    for text in [*project["dependencies"], *extras["data"], *extras["images"], *extras["sql"]]:
        requirement = Requirement(text)
        [lowest] = [bound for bound in requirement.specifier if bound.operator == ">="]
        assert Version(lowest.version) == Version(tested[requirement.name]), text
