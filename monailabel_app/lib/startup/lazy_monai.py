"""Lazy import of MONAI, which MONAI Label imports in nearly every module and this app does not use.

Importing ``monai`` takes longer than all the rest of the start together, since it imports every submodule and with
them ignite, transformers, mlflow and torchvision. While the server or a worker starts, names imported from it are
therefore placeholders, which are resolved on first use: calling one, accessing an attribute, deriving from it or
testing against it imports the real ``monai``.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

logger = logging.getLogger(__name__)

# This app replaces what MONAI Label uses itk for (its writer of label files) and pydicom_seg (its DICOMweb
# datastore); pydicom_seg cannot be imported beside pydicom 3.
PACKAGES = ("monai", "itk", "pydicom_seg")


class LazyName:
    """A name of a module that is imported when the name is used.

    Args:
        hook: whose placeholders end when this one is used.
        module: the module's full name.
        name: a name in it, or of a module in it.
    """

    def __init__(self, hook: LazyPackages, module: str, name: str) -> None:
        self._hook, self._module, self._name = hook, module, name

    def resolve(self) -> Any:
        """The object of this name in the real module."""
        self._hook.end()
        if self._module not in sys.modules:
            logger.info("importing %s for %s", self._module, self._name)
        module = importlib.import_module(self._module)
        try:
            return getattr(module, self._name)
        except AttributeError:
            return importlib.import_module(f"{self._module}.{self._name}")

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.resolve()(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.resolve(), name)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.resolve(),)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self.resolve())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self.resolve())

    def __repr__(self) -> str:
        return f"<{self._module}.{self._name}, not imported yet>"


class LazyPackages(MetaPathFinder, Loader):
    """Import hook: all names in modules of some packages are placeholders.

    Args:
        packages: names of top-level packages; those that were imported before stay as they are.
    """

    def __init__(self, packages: Sequence[str] = PACKAGES) -> None:
        self._packages = packages

    def begin(self) -> None:
        """Import placeholders from now on."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def end(self) -> None:
        """Import the real packages from now on; existing placeholders are resolved when they are used."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name, module in list(sys.modules.items()):
            if isinstance(module, _LazyModule):
                del sys.modules[name]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, dot, _ = fullname.partition(".")
        if package not in self._packages or (dot and not isinstance(sys.modules.get(package), _LazyModule)):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _LazyModule(spec.name, self)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _LazyModule(ModuleType):
    def __init__(self, name: str, hook: LazyPackages) -> None:
        super().__init__(name)
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return LazyName(self._hook, self.__name__, name)


lazy_monai = LazyPackages()
"""Active from the command line, or the import of ``monailabel_app.main``, until the app is made."""
