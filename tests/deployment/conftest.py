from monai_bundles import foreign, home

__all__ = ["foreign", "home"]
