"""Sample data that needs no account: a real chest CT and real nodule shapes from published Python wheels."""

from medseg.data.sample.chest import ChestCt, load_chest
from medseg.data.sample.ct_volumes import make_ct
from medseg.data.sample.radiographs import make_radiographs

__all__ = ["ChestCt", "load_chest", "make_ct", "make_radiographs"]
