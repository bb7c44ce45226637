"""Tensors only: tokenizer, encoder, quantisation, readouts and the network made of them."""

from ddcl_tab.nn.codebook import DDCLCodebook

__all__ = ["DDCLCodebook"]
