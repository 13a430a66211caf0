"""Reproduction of the paper's comparisons (He, Wang & Yaqub, arXiv 2507.22802).

The paper's full text was not available when this was written, so **the numbering of tables and figures is ours**:

table1      the eight models                table2  FetalCLIP_SEG against FetalCLIP_CLS
table3      linear probe, full, LoRA        table4  encoder pre-training
fig2        PCA and t-SNE of features       fig3    outlines next to the experts'
classic     image quality measures     parameters  counts of trainable parameters
recipes     training recipes and ablations
"""

NUMBERING_NOTE = (
    "The numbering of tables and figures is ours: the paper's full text was not available, so it could not be "
    "compared with the paper's."
)
