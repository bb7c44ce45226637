"""What a user may import: the names in ``__all__`` of the packages, each with a docstring, and no other module."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import ddcl_tab

#: Packages with public names, and the modules without underscore beside them.
PACKAGES = (
    "ddcl_tab",
    "ddcl_tab.estimators",
    "ddcl_tab.interpret",
    "ddcl_tab.nn",
    "ddcl_tab.space",
    "ddcl_tab.space.fetch",
    "ddcl_tab.training",
    "ddcl_tab.tuning",
)
MODULES = ("ddcl_tab.app", "ddcl_tab.cli", "ddcl_tab.errors")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_can_be_imported_and_says_what_it_is(package):
    module = importlib.import_module(package)
    assert module.__doc__
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    for name in module.__all__:
        public = getattr(module, name)
        assert not name.startswith("_") or name == "__version__"
        if inspect.isclass(public) or inspect.isfunction(public):
            # A named tuple without a docstring of its own has one of Python's.
            assert public.__doc__
            assert not public.__doc__.startswith(f"{name}("), name


@pytest.mark.parametrize("package", PACKAGES)
def test_public_methods_say_what_they_do(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        public = getattr(module, name)
        if not inspect.isclass(public):
            continue
        own = {k: v for k, v in vars(public).items() if not k.startswith("_")}
        silent = [k for k, v in own.items() if (inspect.isfunction(v) or isinstance(v, property)) and not v.__doc__]
        assert not silent, (name, silent)


def test_all_other_modules_are_private():
    found = {module.name for module in pkgutil.walk_packages(ddcl_tab.__path__, "ddcl_tab.")}
    public = {name for name in found if not any(part.startswith("_") for part in name.split("."))}
    assert public == {*PACKAGES, *MODULES} - {"ddcl_tab"}


def test_what_a_star_brings_is_what_is_listed():
    for package in PACKAGES[1:]:
        names: dict[str, object] = {}
        exec(f"from {package} import *", names)
        assert set(names) - {"__builtins__"} == set(importlib.import_module(package).__all__)
