"""Sub-goal Distillation (arXiv 2405.02749) on ScienceWorld: collect, annotate, build, train, evaluate, release."""

__version__ = "0.1.0"
