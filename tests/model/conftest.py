from tiny_models import _seeded, card_for, tiny, tiny_model

__all__ = ["_seeded", "card_for", "tiny", "tiny_model"]
