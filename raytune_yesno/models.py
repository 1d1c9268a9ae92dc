"""The tutorial's networks, ``Net`` and ``MLP``, under the path that user code imports."""

from raytune_yesno.tasks.speech.networks import MLP, Net

__all__ = ["MLP", "Net"]
