"""Where cases come from: the ACOUSLIC-AI folder layout and the synthetic phantom."""
