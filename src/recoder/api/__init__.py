"""From interactions to recommendations in the user's own ids; ``import recoder`` offers all of it."""

from recoder.api.files import load
from recoder.api.fitted import FittedModel
from recoder.api.fitting import fit

__all__ = ["FittedModel", "fit", "load"]
