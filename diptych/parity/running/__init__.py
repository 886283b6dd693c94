"""How a model is run and recorded, and how two models are matched."""
