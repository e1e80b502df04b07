"""safetensors: the weights and the card alone, small and safe to pass on; every command here takes them back."""

from ..weights.files import save_weights as save

__all__ = ["save"]
