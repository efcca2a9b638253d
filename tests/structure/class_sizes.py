# SPDX-License-Identifier: Apache-2.0
"""Counts the private functions and the fields of the classes in a C++ source.

It reads text as clang-format lays it out; no macro opens a class.
"""

import re
from typing import NamedTuple

COMMENT_OR_TEXT = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.DOTALL)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
ATTRIBUTE = re.compile(
    r"\b(?:GUARDED_BY|PT_GUARDED_BY|REQUIRES|alignas)\([^()]*\)|\bNO_THREAD_SAFETY_ANALYSIS\b|\[\[[^\]]*\]\]")
CLASS_HEAD = re.compile(r"\b(class|struct|union)\s+([\w:]+)(?:<[^{}]*>)?\s*(?:final\s*)?(?::(?!:)[^;{}()]*)?$")
ENUM_HEAD = re.compile(r"\benum\b[^;{}()]*$")
ACCESS = re.compile(r"^\s*(public|protected|private)\s*:(?!:)")
NO_MEMBER = re.compile(
    r"^(?:using|typedef|friend|enum|static_assert|static constexpr|(?:class|struct|union)\b(?!.*\())\b")


class Size(NamedTuple):
    name: str
    private_functions: int  # constructors do not count
    fields: int
    is_plain: bool  # a list of values: a struct whose functions only read it


def plain_code(source):
    """The source without its comments, texts, directives and attributes."""
    source = COMMENT_OR_TEXT.sub(lambda found: " " if found.group(0)[0] == "/" else "0", source)
    return ATTRIBUTE.sub(" ", DIRECTIVE.sub("", source))


def end_of_block(code, begin):
    """The position behind the brace that closes the one at `begin`."""
    depth = 0
    for at in range(begin, len(code)):
        depth += {"{": 1, "}": -1}.get(code[at], 0)
        if depth == 0:
            return at + 1
    return len(code)


def without_template_arguments(declaration):
    kept, depth = [], 0
    for character in declaration.replace("->", "  "):
        depth -= character == ">"
        if depth == 0 and character not in "<>":
            kept.append(character)
        depth += character == "<"
    return "".join(kept)


def members_of(body):
    """(access or None, declaration) for each member in the body of a class; blocks in it are reduced to {}."""
    access, text, at = None, "", 0
    while at < len(body):
        character = body[at]
        ends = character == ";"
        if character == "{":
            text += "{}"
            at = end_of_block(body, at)
            # An initialiser continues with one of these; a function's body and a class do not.
            ends = not body[at:].lstrip()[:1] or body[at:].lstrip()[0] not in ";,{)"
        else:
            text += "" if ends else character
            at += 1
        while found := ACCESS.match(text):
            access, text = found.group(1), text[found.end():]
        if ends:
            if text.strip():
                yield access, " ".join(text.split())
            text = ""


def is_function(declaration):
    if "operator" in declaration:
        return True
    start = without_template_arguments(declaration).split("=")[0]
    return "(" in start and not re.search(r"\(\s*\*", start)


def size_of(kind, name, body):
    private_functions = changing_functions = fields = 0
    for access, declaration in members_of(body):
        if NO_MEMBER.match(declaration):
            continue
        if not is_function(declaration):
            fields += 1 + without_template_arguments(declaration).split("=")[0].split("{")[0].count(",")
            continue
        if re.search(rf"(?:^|[\s~]){name.split('::')[-1]}\s*\(", declaration.split("{")[0]):
            continue
        reads = re.search(r"\)\s*const\b", declaration) or declaration.startswith("static ")
        changing_functions += not reads
        private_functions += (access or ("private" if kind == "class" else "public")) != "public"
    return Size(name, private_functions, fields, kind != "class" and changing_functions == 0)


def sizes_in(source):
    """The size of every class that the source defines, nested ones included."""
    code = plain_code(source)
    sizes = []
    for found in re.finditer(r"\{", code):
        statement = re.split(r"[;{}]|\b(?:public|protected|private)\s*:(?!:)", code[:found.start()])[-1]
        head = CLASS_HEAD.search(statement)
        if head and not ENUM_HEAD.search(statement):
            body = code[found.end():end_of_block(code, found.start()) - 1]
            sizes.append(size_of(head.group(1), head.group(2), body))
    return sizes
