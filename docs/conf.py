"""How Sphinx builds the site. Nothing is fetched: what other projects document is listed in `inventories/`."""

from __future__ import annotations

import importlib
import sys
import zlib
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_origin

import typing_extensions
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.ext import intersphinx
from sphinx.pycode import ModuleAnalyzer

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

HERE = Path(__file__).parent

project = "streamkit"
author = "the streamkit authors"
copyright = "the streamkit authors"
release = version = installed_version("streamkit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
exclude_patterns = ["_build"]
nitpicky = True
default_role = "any"
html_theme = "furo"
html_title = f"streamkit {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
maximum_signature_line_length = 80
python_use_unqualified_type_names = True

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    # What comes from a private base is shown where users find it; not so what comes from these.
    "inherited-members": "Source, Generic, Protocol, Enum, Exception, Warning, tuple, object",
}
autodoc_class_signature = "mixed"
autodoc_inherit_docstrings = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_preprocess_types = False
napoleon_use_ivar = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3


def inventory(project_name: str) -> str:
    """Make an intersphinx inventory from `inventories/<name>.txt`, lines of `name role page`."""
    lines = [line.split() for line in (HERE / "inventories" / f"{project_name}.txt").read_text("utf-8").splitlines()]
    entries = [f"{name} {role} 1 {page} -\n" for name, role, page in lines]
    header = f"# Sphinx inventory version 2\n# Project: {project_name}\n# Version: \n# zlib-compressed data follows\n"
    target = HERE / "_build" / "inventories" / f"{project_name}.inv"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(header.encode() + zlib.compress("".join(entries).encode()))
    return str(target)


intersphinx_mapping = {
    "python": ("https://docs.python.org/3", inventory("python")),
    "redis": ("https://redis.readthedocs.io/en/stable", inventory("redis")),
}

PUBLIC = ["streamkit", "streamkit.asyncio", "streamkit.testing"]
# Aliases in signatures that have no page of their own: where they lead, in either half.
ALIASES = {
    "BackoffOf": ("collections.abc.Callable", "collections.abc.Callable"),
    "Client": ("redis.Redis", "redis.asyncio.Redis"),
    "FieldsIn": ("collections.abc.Mapping", "collections.abc.Mapping"),
    "Values": ("collections.abc.Iterable", "collections.abc.AsyncIterable"),
}
# What is named in signatures, and is nothing that users import: plain text there.
PLAIN = {"Shard", "Stoppable"}
# Classes that users read about, but never construct.
ABSTRACT = {"Appendable", "Cluster", "Node", "Source"}
TYPE_VARIABLES = (TypeVar, typing_extensions.TypeVar)
private_names: dict[str, str] = {}
type_variables: set[str] = set()


def find_public_names() -> None:
    """Learn where users import what is defined in private modules, and which names are type variables."""
    for package in PUBLIC:
        module = importlib.import_module(package)
        for name in module.__all__:
            home = getattr(getattr(module, name), "__module__", None) or ""
            private_names[f"{home}.{name}"] = f"{package}.{name}"
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "streamkit":
            type_variables.update(key for key, value in vars(module).items() if isinstance(value, TYPE_VARIABLES))


def inherit_overloads() -> None:
    """Let a class show the overloads of the methods that it has from a private base, not their implementation."""
    for package in PUBLIC:
        module = importlib.import_module(package)
        for thing in (getattr(module, name) for name in module.__all__):
            for base in thing.__mro__[1:] if isinstance(thing, type) else ():
                if not base.__module__.startswith("streamkit."):
                    continue
                theirs, ours = (ModuleAnalyzer.for_module(name) for name in (base.__module__, thing.__module__))
                theirs.analyze()
                ours.analyze()
                for name, overloads in list(theirs.overloads.items()):
                    owner, _, method = name.rpartition(".")
                    if owner == base.__qualname__ and method not in vars(thing):
                        for analyzer in (theirs, ours):
                            analyzer.overloads.setdefault(f"{thing.__qualname__}.{method}", overloads)


def find_reference(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement) -> Any:
    """Resolve what Sphinx does not: annotations with names as the source writes them, and where they are private."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target:
        return None
    last = target.rpartition(".")[2]
    if last in type_variables or last in PLAIN:
        return content  # a type variable has no page; it is plain text
    here = node.get("py:module") or "streamkit"
    if target == last or target.startswith("streamkit."):
        domain = env.domains.python_domain
        for candidate in (private_names.get(target), *(f"{module}.{last}" for module in (here, *PUBLIC))):
            if candidate in domain.objects:
                return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", candidate, node, content)
        if last in ALIASES:
            node["reftarget"] = ALIASES[last][here == "streamkit.asyncio"]
            return intersphinx.missing_reference(app, env, node, content)
    if target == last:
        roles = intersphinx.InventoryAdapter(env).main_inventory
        known = {name for role in roles for name in roles[role] if name.rpartition(".")[2] == last}
        if len(known) == 1:
            node["reftarget"] = known.pop()
            return intersphinx.missing_reference(app, env, node, content)
    return None


def public_bases(thing: type) -> list[Any]:
    """What a class derives from, as far as users can import it."""
    bases: list[Any] = []
    for base in getattr(thing, "__orig_bases__", thing.__bases__):
        origin = get_origin(base) or base
        if origin is Generic:
            continue  # the signature shows what a class is generic in
        name = f"{origin.__module__}.{origin.__qualname__}"
        private = name.startswith("streamkit.") and name not in private_names
        bases += public_bases(origin) if private else [origin]
    return bases


def name_public_bases(_app: Sphinx, _name: str, thing: Any, _options: Any, bases: list[Any]) -> None:
    """Show these."""
    bases[:] = public_bases(thing) or [object]


def hide_constructor(
    _app: Sphinx, _what: str, name: str, _thing: Any, _options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Leave out the parameters of what is never constructed by users."""
    return ("", None) if name.rpartition(".")[2] in ABSTRACT else (signature, returns)


def setup(app: Sphinx) -> None:
    find_public_names()
    inherit_overloads()
    app.connect("missing-reference", find_reference)
    app.connect("autodoc-process-bases", name_public_bases)
    app.connect("autodoc-process-signature", hide_constructor)
