"""TypeScript in answers, parsed by tree-sitter; it is not run, so that no Node.js is needed."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from ftlib.errors import SetupError
from ftlib.general_items.code import extract

_WHAT = {
    "function_declaration": "function",
    "generator_function_declaration": "function",
    "interface_declaration": "interface",
    "type_alias_declaration": "type",
    "class_declaration": "class",
    "abstract_class_declaration": "class",
    "enum_declaration": "enum",
}
_FUNCTIONS = ("arrow_function", "function_expression", "generator_function")


def can_parse() -> bool:
    return all(importlib.util.find_spec(name) for name in ("tree_sitter", "tree_sitter_typescript"))


def fault(answer: str, declares: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with an answer's code: a syntax error, or something that it does not declare at its top level.

    Args:
        declares: what (function: a const arrow, too, interface, type, class, enum, const) and name; optionally params
            (their number, each with a type, and a body that is not empty), returns (what the type of the result may be,
            where one is written), methods (of a class) and text (patterns found in the declaration); spaces are taken
            out and quotes double.

    Raises:
        SetupError: the parser is not installed.
    """
    if not can_parse():
        raise SetupError("TypeScript answers are checked by tree-sitter: pip install 'ftlib[eval]'.")
    code = extract(answer, "typescript", declares[0]["name"])
    root = _parser().parse(code.encode("utf-8", "replace")).root_node
    if root.has_error:
        return "does not parse as TypeScript"
    there = list(_declarations(root))
    for wanted in declares:
        kind, name = wanted["what"], wanted["name"]
        found = [node for what, called, node in there if (what, called) == (kind, name)]
        if not found:
            return f"declares no {kind} {name}"
        if not any(_fits(node, wanted) for node in found):
            return f"the {kind} {name} lacks what was asked for"
    return ""


@cache
def _parser() -> Any:
    import tree_sitter_typescript
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_typescript.language_typescript()))


def _declarations(root: Any) -> Iterator[tuple[str, str, Any]]:
    for node in root.named_children:
        if node.type == "export_statement":
            node = node.child_by_field_name("declaration") or node.child_by_field_name("value") or node
        if node.type in _WHAT:
            yield _WHAT[node.type], _text(node.child_by_field_name("name")), node
        elif node.type in ("lexical_declaration", "variable_declaration"):
            for one in node.named_children:
                if one.type == "variable_declarator":
                    value = one.child_by_field_name("value")
                    what = "function" if value is not None and value.type in _FUNCTIONS else "const"
                    yield what, _text(one.child_by_field_name("name")), one


def _fits(node: Any, wanted: Mapping[str, Any]) -> bool:
    if not all(re.search(pattern, _bare(node)) for pattern in wanted.get("text", ())):
        return False
    if "methods" in wanted and not set(wanted["methods"]) <= set(_methods(node)):
        return False
    if "params" not in wanted:
        return True
    value = node.child_by_field_name("value") or node
    parameters = value.child_by_field_name("parameters")
    given = [] if parameters is None else [one for one in parameters.named_children if one.type != "comment"]
    if parameters is None:  # x => ...
        given = [value.child_by_field_name("parameter")]
    body = value.child_by_field_name("body")
    written = body.type != "statement_block" or any(one.type != "comment" for one in body.named_children)
    # const f: (a: number) => number = (a) => ... has its types on the left.
    typed = node.child_by_field_name("type") is not None or all(one.child_by_field_name("type") for one in given)
    result = _bare(value.child_by_field_name("return_type")).removeprefix(":")
    right = not result or result in wanted.get("returns", [result])
    return len(given) == wanted["params"] and typed and written and right


def _methods(node: Any) -> Iterator[str]:
    """Names of a class's methods; those that hold a function, too."""
    for one in node.child_by_field_name("body").named_children:
        value = one.child_by_field_name("value")
        held = value is not None and value.type in _FUNCTIONS
        if one.type in ("method_definition", "abstract_method_signature") or held:
            yield _text(one.child_by_field_name("name"))


def _bare(node: Any) -> str:
    return re.sub(r"\s+", "", _text(node)).replace("'", '"')


def _text(node: Any) -> str:
    return node.text.decode("utf-8") if node is not None else ""
