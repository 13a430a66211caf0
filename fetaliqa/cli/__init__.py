"""The ``fetaliqa`` console command: one module per verb."""
