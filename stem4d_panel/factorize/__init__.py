"""Non-negative matrix factorisation of prepared frames."""

from stem4d_panel.factorize.factors import Factors, factorise_steps
from stem4d_panel.factorize.nmf import NMF

__all__ = ["NMF", "Factors", "factorise_steps"]
