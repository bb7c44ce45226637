"""Training: rows and batches, distillation, the objective, the skorch net and what is measured at every epoch."""

from ddcl_tab.training._certificate import EpochCertificate
from ddcl_tab.training._checkpoint import CheckpointFile
from ddcl_tab.training._stability import Stability

__all__ = ["CheckpointFile", "EpochCertificate", "Stability"]
