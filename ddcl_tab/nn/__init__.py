"""Tensors only: tokenizer, encoder, the mathematics of quantisation, readouts, codebook and compressor."""

from ddcl_tab.nn._codebook import DDCLCodebook
from ddcl_tab.nn._compressor import HierarchicalCompressor
from ddcl_tab.nn._quantization import Assignment, assign, critical_temperature, loss_terms, quantization_loss
from ddcl_tab.nn._readouts import DDCLReadout

__all__ = [
    "Assignment",
    "DDCLCodebook",
    "DDCLReadout",
    "HierarchicalCompressor",
    "assign",
    "critical_temperature",
    "loss_terms",
    "quantization_loss",
]
