"""Keys, random streams, state_dict checks and checks of config fields."""
