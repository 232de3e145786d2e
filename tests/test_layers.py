"""Imports only point down the list of layers."""

import ast
import subprocess
import sys
from pathlib import Path

import medseg

ROOT = Path(medseg.__file__).parent
ORDER = [
    "cli", "service", "reporting", "tuning", "experiment", "training", "inference", "planning", "config", "detectors",
    "networks", "parallel", "drawing", "data", "privacy", "imaging", "evaluation",
]  # fmt: skip
# the loading of checkpoints is shared by training and inference; the plan's memory is that of training's own optimiser
ALLOWED = {("inference", "training.checkpoint"), ("planning", "training.optimisation")}


def test_imports_point_down():
    wrong = []
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).parts
        layer = parts[0] if len(parts) > 1 else ""
        if layer not in ORDER or path.name == "settings.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("medseg."):
                continue
            target = node.module.split(".")[1]
            module = node.module.removeprefix("medseg.")
            settings = module.endswith("settings")  # torch-free leaves that config composes
            up = target in ORDER and ORDER.index(target) < ORDER.index(layer) and not settings
            if up and (layer, module) not in ALLOWED:
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not wrong


def _modules_after(statement):
    code = (
        f"{statement}\nimport sys\nprint(*[m for m in ('torch', 'monai', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_import_is_light():
    assert _modules_after("import medseg") == []
    assert _modules_after("import medseg.cli") == []
    assert _modules_after("import medseg.evaluation") == []
    assert _modules_after("import medseg.config") == []
