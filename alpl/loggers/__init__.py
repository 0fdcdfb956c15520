"""Where metrics go beside the CSV files, which are always written and are the truth."""
