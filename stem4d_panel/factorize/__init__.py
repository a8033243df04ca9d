"""Non-negative matrix factorisation of prepared frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stem4d_panel.factorize.factors import Factors, factorise_steps

if TYPE_CHECKING:
    from stem4d_panel.factorize.nmf import NMF

__all__ = ["NMF", "Factors", "factorise_steps"]


def __getattr__(name: str) -> Any:
    """The estimator when it is asked for: scikit-learn takes two seconds to import, and the chain does without it."""
    if name == "NMF":
        from stem4d_panel.factorize.nmf import NMF

        return NMF
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
