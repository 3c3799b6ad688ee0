"""The shape of the model that tests make: large enough to be a model, small enough for milliseconds."""

TINY = {
    "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "intermediate_size": 64, "tie_word_embeddings": True,
}  # fmt: skip
