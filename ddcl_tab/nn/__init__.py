"""Tensors only: tokenizer, encoder, quantisation, readouts and the network made of them."""

from ddcl_tab.nn.codebook import DDCLCodebook
from ddcl_tab.nn.compressor import HierarchicalCompressor

__all__ = ["DDCLCodebook", "HierarchicalCompressor"]
