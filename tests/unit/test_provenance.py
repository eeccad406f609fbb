"""The normal form of code and its digest: what changes them, and what does not."""

import ast

import pytest

from sonogrid import provenance
from sonogrid.provenance import code_digest, normal_form

CODE = '''
import numpy as np

RATE = 0.5


class Fit(Exception):
    size: int = 3

    def step(self, rows, *, scale=1):
        """Take a step."""
        total = self.size * (scale + 1) - 2
        return f"{total:>{rows}} of {rows!r}" if total > 0 else ["a", rows[0]]
'''

SAME = {
    "comment": ("RATE = 0.5", "RATE = 0.5  # per epoch"),
    "docstring changed": ("Take a step.", "Take one step."),
    "docstring removed": ('        """Take a step."""\n', ""),
    "docstring of a module": ("\nimport", '"""A module."""\n\nimport'),
    "docstring of a constant": ("RATE = 0.5", 'RATE = 0.5\n"""Per epoch."""'),
    "pass": ("    size: int = 3", "    pass\n    size: int = 3"),
    "blank lines": ("\n\n\nclass", "\nclass"),
    "line breaks in brackets": ('["a", rows[0]]', '[\n            "a",\n            rows[0]\n        ]'),
    "trailing comma": ('["a", rows[0]]', '["a", rows[0],]'),
    "parentheses": ("self.size * (scale + 1) - 2", "((self.size * (scale + 1)) - 2)"),
    "quotes": ('"a"', "'a'"),
    "quotes of an f-string": ('f"{total:>{rows}} of {rows!r}"', "f'{total:>{rows}} of {rows!r}'"),
    "parts of an f-string": ('of {rows!r}"', 'of " f"{rows!r}"'),
    "parts of a text": ('"a"', '"" "a"'),
    "spelling of a number": ("RATE = 0.5", "RATE = 5.0e-1"),
    "semicolon": ("RATE = 0.5", "RATE = 0.5;"),
}
OTHER = {
    "constant": ("0.5", "0.25"),
    "type of a constant": ("scale=1", "scale=1.0"),
    "operator": ("total > 0", "total >= 0"),
    "name": ("RATE", "SPEED"),
    "order of operations": ("self.size * (scale + 1) - 2", "(self.size * scale + 1) - 2"),
    "text that is not a docstring": ('"a"', '"b"'),
    "text of an f-string": ("} of {", "} in {"),
    "format": (":>{rows}", ":<{rows}"),
    "conversion": ("!r", "!s"),
    "order of statements": ("import numpy as np\n\nRATE = 0.5\n", "RATE = 0.5\nimport numpy as np\n"),
    "default": ("*, scale=1", "*, scale=2"),
    "kind of argument": ("rows, *, scale", "rows, scale"),
    "annotation": ("size: int", "size: float"),
    "base class": ("Fit(Exception)", "Fit"),
    "import": ("import numpy as np", "import numpy as numpy"),
    "index": ("rows[0]", "rows[0:]"),
    "tuple for a list": ('["a", rows[0]]', '("a", rows[0])'),
    "text in place of a docstring": ('"""Take a step."""', 'self.note = """Take a step."""'),
}


def changed(old: str, new: str) -> str:
    assert CODE.count(old) >= 1, old
    return CODE.replace(old, new, 1)


@pytest.mark.parametrize("edit", SAME)
def test_what_does_nothing_is_not_in_the_normal_form(edit: str) -> None:
    assert normal_form(changed(*SAME[edit])) == normal_form(CODE)


@pytest.mark.parametrize("edit", OTHER)
def test_what_the_code_does_is_in_the_normal_form(edit: str) -> None:
    assert normal_form(changed(*OTHER[edit])) != normal_form(CODE)


def test_code_indented_otherwise_is_the_same_code() -> None:
    assert normal_form(CODE.replace("    ", "  ")) == normal_form(CODE)


@pytest.mark.parametrize("source", ["", "# nothing\n", '"""A room."""\n', "pass\n"])
def test_code_that_does_nothing_is_empty(source: str) -> None:
    assert normal_form(source) == ""


def test_normal_form_of_this_version_of_python_is_that_of_every_version() -> None:
    """Written by hand from the grammar in the documentation of `ast`; every version of Python must give this text.

    Only Python 3.11 was run when this was written.
    """
    assert normal_form('x = -1 if y else f"a{z!r:>{w}}{{" "b"\n') == (
        "[Assign(targets=[Name(id='x')] value=IfExp(body=UnaryOp(op=USub() operand=int:1) orelse=JoinedStr([str:'a', "
        "FormattedValue(conversion=114 format_spec=JoinedStr([str:'>', FormattedValue(conversion=-1 "
        "value=Name(id='w'))]) value=Name(id='z')), str:'{b']) test=Name(id='y')))]"
    )
    # repr prints the letters that Unicode knows, which grow with versions; the normal form has ASCII alone.
    assert normal_form("x = '\u00e9'") == "[Assign(targets=[Name(id='x')] value=str:'\\xe9')]"


class FunctionDef(ast.FunctionDef):
    """A function as Python 3.12 parses it: with a field that 3.11 does not have."""

    _fields = (*ast.FunctionDef._fields, "type_params")


def test_fields_and_pieces_of_f_strings_of_later_versions_change_nothing() -> None:
    tree = ast.parse('def f(x):\n    return f"a{{b{x:}"\n')
    (old,) = tree.body
    assert isinstance(old, ast.FunctionDef)
    texts = [ast.Constant("a{"), ast.Constant(""), ast.Constant("b")]
    value = ast.FormattedValue(ast.Name("x", ast.Load()), -1, None)
    new = FunctionDef(**{name: getattr(old, name) for name in ast.FunctionDef._fields}, type_params=[])
    new.body = [ast.Return(ast.JoinedStr([*texts, value]))]
    assert provenance._form([new]) == provenance._form(tree.body)


def test_digest_depends_on_the_code_and_on_neither_names_nor_order_of_files(tmp_path) -> None:
    one, other, empty = tmp_path / "one.py", tmp_path / "other.py", tmp_path / "__init__.py"
    one.write_text("a = 1\n")
    other.write_text("b = 2\n")
    empty.write_text('"""A room."""\n')
    found = code_digest([one, other])
    assert found == code_digest([other, one]) == code_digest(iter([one, empty, other]))
    moved = tmp_path / "moved.py"
    one.rename(moved)
    assert code_digest([moved, other]) == found
    moved.write_text("a = 1; b = 2\n")
    assert code_digest([moved]) != found, "code that moves to another module is seen"
    moved.write_text("a = 3\n")
    assert code_digest([moved, other]) != found


def test_digests_of_the_package_are_64_hex_digits() -> None:
    files = list(provenance.FOLDER.rglob("*.py"))
    assert len(files) > 100 and len(bytes.fromhex(code_digest(files))) == 32
