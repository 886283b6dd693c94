"""The recurrent network around a cell: layers, dropout, output and loss."""
