"""First seed of the phantom cases of each purpose, so that no case trains in one place and tests in another.

Others are in use too: 7,000 on by the paper's comparisons (``fetaliqa.lab.paper``), 60,000 on by label
efficiency (``fetaliqa.lab.efficiency``), 70,000 on by the search for the best frame
(``benchmarks/search.py``), and 80,000 on by distillation (``fetaliqa.lab.distillation``).
"""

from fetaliqa.lab.phantom.phantom_settings import PhantomSettings

PHANTOM = PhantomSettings(scale="half")  # of the cases of these seeds, the sample cases excepted
TRAIN = 10_000  # 800 cases trained the demo bundle; of these, 120 the abdomen bundle; replayed in retraining
VALIDATION = 20_000  # 24 cases chose the demo bundle's threshold; replayed in validation
TEST = 30_000  # what a bundle is measured on
SAMPLE = 40_000  # in sample-data/
STAND_IN = 50_000  # the experiments' stand-in encoder
INTERVAL = 95_000  # calibrated the abdomen bundle's intervals on sweeps (benchmarks/interval_coverage.py)
INTERVAL_TEST = 96_000  # measured their coverage
STRUCTURES = 110_000  # 60 cases teach the measure after FUIQA where stomach and vein are
STRUCTURES_TEST = 115_000  # what it is measured on
