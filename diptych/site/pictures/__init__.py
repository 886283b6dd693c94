"""What a picture says better than code."""
