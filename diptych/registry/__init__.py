"""What is registered of each model: one file a pair, gathered in diptych.pairs."""
