"""Training: rows and batches, distillation, the objective, the skorch net and what is measured at every epoch."""

from ddcl_tab.training._certificate import EpochCertificate
from ddcl_tab.training._stability import Stability

__all__ = ["EpochCertificate", "Stability"]
