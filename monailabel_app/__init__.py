"""The MONAI Label app: thin adapters between MONAI Label's server and the fetaliqa library."""
