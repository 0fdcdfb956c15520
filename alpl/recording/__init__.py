"""What a run keeps beside its results: counts, informativeness, galleries, embeddings."""
