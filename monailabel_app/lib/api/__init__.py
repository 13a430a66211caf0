"""HTTP endpoints, one module per MONAI Label router."""
