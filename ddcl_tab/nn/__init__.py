"""Tensors only: tokenizer, encoder, the mathematics of quantisation, readouts, codebook and compressor."""

from ddcl_tab.nn._codebook import DDCLCodebook
from ddcl_tab.nn._compressor import Compressed, HierarchicalCompressor, LevelCertificate, LevelReading
from ddcl_tab.nn._network import DDCLReadout, Reading
from ddcl_tab.nn._quantization import Assignment, LossTerms, assign, critical_temperature, loss_terms, quantization_loss

__all__ = [
    "Assignment",
    "Compressed",
    "DDCLCodebook",
    "DDCLReadout",
    "HierarchicalCompressor",
    "LevelCertificate",
    "LevelReading",
    "LossTerms",
    "Reading",
    "assign",
    "critical_temperature",
    "loss_terms",
    "quantization_loss",
]
