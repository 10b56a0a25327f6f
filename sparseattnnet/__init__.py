"Hierarchical sparse attention for classifying biological cells: `SparseAttnClassifier().fit('folder of images')`."
__version__ = "0.1.0"

_PLACES = {'SparseAttnClassifier': 'use.classifier', 'SparseAttnNet': 'method.model', 'preset': 'method.model', 'load': 'use.trained'}
__all__ = ['SparseAttnClassifier', 'SparseAttnNet', 'preset', 'load']

from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from .method.model import SparseAttnNet, preset
    from .use.classifier import SparseAttnClassifier
    from .use.trained import load


def __getattr__(name):
    "Import a public name when it is first asked for: `import sparseattnnet` alone loads neither torch nor NumPy."
    if name not in _PLACES: raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names are {', '.join(__all__)}")
    from importlib import import_module
    globals()[name] = value = getattr(import_module(f'.{_PLACES[name]}', __name__), name)
    return value


def __dir__(): return sorted({*globals(), *__all__})
