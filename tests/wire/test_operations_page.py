"""docs/operations.md is what the program says of its own table."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def test_page_is_generated_from_the_table():
    binary = os.environ.get("STRONGROOM", str(ROOT / "build/strongroom"))
    page = subprocess.run([binary, "help", "operations"], capture_output=True, text=True, check=True).stdout
    assert page == (ROOT / "docs/operations.md").read_text(), \
        "run: build/strongroom help operations > docs/operations.md"


def rows():
    """(operation, supported, since, the file that tests it)"""
    page = (ROOT / "docs/operations.md").read_text()
    return re.findall(r"^\| ([^|]+) \| (yes|no) \| ([^|]+) \| (?:\[([^]]+)\]\([^)]*\)|–) \|$", page, re.M)


def test_every_operation_of_the_reference_has_one_line():
    names = [r[0] for r in rows()]
    assert len(names) == len(set(names)) >= 53
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", r[2]) for r in rows())


def test_every_row_of_the_table_has_its_line():
    """A new operation comes with a line in `reference` of src/cli/operations.c."""
    page = (ROOT / "docs/operations.md").read_text()
    requests = set(re.findall(r"^\| ([^|]+) \| `(?:GET|HEAD|PUT|POST|DELETE|OPTIONS) ", page, re.M))
    assert requests == {r[0] for r in rows() if r[1] == "yes"}


def test_what_is_supported_is_tested():
    """conftest.py sees that the file named does test it."""
    for name, supported, _, tested in rows():
        assert supported == "no" or (tested and (ROOT / "tests/wire" / tested).is_file()), \
            f"{name}: name the file of tests/wire that tests it, in src/cli/operations.c"
