"""docs/operations.md is what the program says of its own table."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def test_page_is_generated_from_the_table():
    binary = os.environ.get("STRONGROOM", str(ROOT / "build/strongroom"))
    page = subprocess.run([binary, "help", "operations"], capture_output=True, text=True, check=True).stdout
    assert page == (ROOT / "docs/operations.md").read_text(), \
        "run: build/strongroom help operations > docs/operations.md"
