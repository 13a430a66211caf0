"""Starting without MONAI: MONAI Label names it in nearly every module, and nothing that serves sweeps uses it.

Importing ``monai`` takes longer than all the rest of the start together, since it imports every submodule and with
them ignite, transformers, mlflow and torchvision. While the server starts, names imported from it are therefore
promises, which are kept on first use: calling one, looking into it, deriving from it or testing against it imports
the real ``monai`` and goes on with what is there.
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

PACKAGES = ("monai", "itk")  # itk: of MONAI Label's writer of label files, which ours stands in for


class Promise:
    """A name of a module that is imported when the name is used.

    Args:
        promises: end when it is used.
        module: the module's full name.
        name: a name in it, or of a module in it.
    """

    def __init__(self, promises: Promises, module: str, name: str) -> None:
        self._promises, self._module, self._name = promises, module, name

    def kept(self) -> Any:
        """What the name stands for."""
        self._promises.end()
        if self._module not in sys.modules:
            logger.info("imports %s now, for %s", self._module, self._name)
        module = importlib.import_module(self._module)
        try:
            return getattr(module, self._name)
        except AttributeError:
            return importlib.import_module(f"{self._module}.{self._name}")

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.kept()(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kept(), name)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.kept(),)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self.kept())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self.kept())

    def __repr__(self) -> str:
        return f"<{self._module}.{self._name}, not imported yet>"


class Promises(MetaPathFinder, Loader):
    """Finds modules of some packages whose names are all promises.

    Args:
        packages: names of top-level packages; those that were imported before stay as they are.
    """

    def __init__(self, packages: Sequence[str] = PACKAGES) -> None:
        self._packages = packages

    def begin(self) -> None:
        """Promise from now on."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def end(self) -> None:
        """From now on imports are real; promises that were given are kept when they are used."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name, module in list(sys.modules.items()):
            if isinstance(module, _PromisedModule):
                del sys.modules[name]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, dot, _ = fullname.partition(".")
        if package not in self._packages or (dot and not isinstance(sys.modules.get(package), _PromisedModule)):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _PromisedModule(spec.name, self)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _PromisedModule(ModuleType):
    def __init__(self, name: str, promises: Promises) -> None:
        super().__init__(name)
        self._promises = promises

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Promise(self._promises, self.__name__, name)


promised = Promises()
"""From the command until the app is there."""
