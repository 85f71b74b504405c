"""Language and embedding models: catalogue, fetching, building, running."""
