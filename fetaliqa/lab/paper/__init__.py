"""The paper's comparisons (He, Wang & Yaqub, arXiv 2507.22802), run anew.

The paper's full text was not to be had when this was written, so **the numbering of tables and figures is ours**:

table1      the eight models                table2  FetalCLIP_SEG against FetalCLIP_CLS
table3      linear probe, full, LoRA        table4  what the encoder learnt before
fig2        PCA and t-SNE of features       fig3    outlines beside the experts'
classic     measures of picture quality     parameters  counts of trainable parameters
recipes     ways of training, and what each part of ours is worth
"""

NUMBERING_NOTE = (
    "The numbering of tables and figures is ours: the paper's full text was not to be had, so which of its tables "
    "shows what could not be checked."
)
