"""Dropout schemes and the fields that the RNN and the LSTM share."""
