"""Cut both panels into statements, align them, and highlight their code."""
