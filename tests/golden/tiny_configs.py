"""Configs of the tiny models: every branch of every family, as transformers 5 writes config.json."""

_llama = dict(vocab_size=256, hidden_size=64, intermediate_size=96, num_attention_heads=4, max_position_embeddings=512)

CONFIGS = {
    "llama3": dict(_llama, model_type="llama", num_hidden_layers=3, num_key_value_heads=2, head_dim=24,
                   rms_norm_eps=1e-5, tie_word_embeddings=True,
                   rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
                                        high_freq_factor=4.0, original_max_position_embeddings=64)),
    "llama_bias": dict(_llama, model_type="llama", num_hidden_layers=2, num_key_value_heads=4, head_dim=16,
                       rms_norm_eps=1e-6, tie_word_embeddings=False, attention_bias=True, mlp_bias=True,
                       rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.0)),
    "mistral": dict(_llama, model_type="mistral", num_hidden_layers=2, num_key_value_heads=1, head_dim=32,
                    sliding_window=16, rms_norm_eps=1e-6, tie_word_embeddings=False,
                    rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
    # Nothing is a multiple of 16 or of a group: odd head counts, odd widths, an odd vocabulary.
    "llama_odd": dict(model_type="llama", vocab_size=263, hidden_size=75, intermediate_size=101, num_hidden_layers=2,
                      num_attention_heads=5, num_key_value_heads=5, head_dim=18, rms_norm_eps=1e-5,
                      tie_word_embeddings=False, max_position_embeddings=512,
                      rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
    "qwen3": dict(_llama, model_type="qwen3", num_hidden_layers=3, num_key_value_heads=2, head_dim=32,
                  rms_norm_eps=1e-6, tie_word_embeddings=True,
                  rope_parameters=dict(rope_type="default", rope_theta=1e6)),
    "qwen3_untied": dict(_llama, model_type="qwen3", num_hidden_layers=2, num_key_value_heads=4, head_dim=20,
                         rms_norm_eps=1e-6, tie_word_embeddings=False,
                         rope_parameters=dict(rope_type="default", rope_theta=5e6)),
    "qwen3_yarn": dict(_llama, model_type="qwen3", num_hidden_layers=2, num_key_value_heads=2, head_dim=32,
                       rms_norm_eps=1e-6, tie_word_embeddings=True,
                       rope_parameters=dict(rope_type="yarn", rope_theta=1e6, factor=4.0,
                                            original_max_position_embeddings=64)),
    "gemma3": dict(_llama, model_type="gemma3_text", num_hidden_layers=4, num_key_value_heads=2, head_dim=32,
                   layer_types=["sliding_attention", "full_attention"] * 2, sliding_window=16,
                   query_pre_attn_scalar=24, rms_norm_eps=1e-6, tie_word_embeddings=True,
                   hidden_activation="gelu_pytorch_tanh",
                   rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=1e4),
                                        full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6))),
    "gemma3_odd": dict(model_type="gemma3_text", vocab_size=261, hidden_size=78, intermediate_size=90,
                       num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=3, head_dim=22,
                       layer_types=["sliding_attention", "sliding_attention", "full_attention"], sliding_window=19,
                       query_pre_attn_scalar=40, rms_norm_eps=1e-6, tie_word_embeddings=True,
                       max_position_embeddings=512, hidden_activation="gelu_pytorch_tanh",
                       rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=1e4),
                                            full_attention=dict(rope_type="default", rope_theta=1e6))),
}

CONFIGS["qwen3_moe"] = dict(CONFIGS["qwen3"], model_type="qwen3_moe", num_hidden_layers=4, tie_word_embeddings=False,
                            num_experts=8, num_experts_per_tok=3, moe_intermediate_size=48, norm_topk_prob=True,
                            decoder_sparse_step=2, mlp_only_layers=[])
CONFIGS["qwen3_moe_odd"] = dict(model_type="qwen3_moe", vocab_size=263, hidden_size=75, intermediate_size=101,
                                num_hidden_layers=3, num_attention_heads=5, num_key_value_heads=5, head_dim=18,
                                rms_norm_eps=1e-6, tie_word_embeddings=True, max_position_embeddings=512,
                                rope_parameters=dict(rope_type="default", rope_theta=1e4), num_experts=7,
                                num_experts_per_tok=2, moe_intermediate_size=41, norm_topk_prob=False,
                                decoder_sparse_step=1, mlp_only_layers=[1])

# r = 3 value heads a key head, so that their order shows; the last layer is linear.
CONFIGS["qwen35"] = dict(
    model_type="qwen3_5_text", vocab_size=256, hidden_size=64, intermediate_size=96, num_hidden_layers=4,
    layer_types=["linear_attention", "full_attention", "linear_attention", "linear_attention"],
    num_attention_heads=4, num_key_value_heads=2, head_dim=64, rms_norm_eps=1e-6, max_position_embeddings=512,
    linear_conv_kernel_dim=4, linear_num_key_heads=2, linear_num_value_heads=6, linear_key_head_dim=16,
    linear_value_head_dim=16, tie_word_embeddings=True,
    rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.25, mrope_interleaved=True,
                         mrope_section=[3, 3, 2]))
# The default 3:1 pattern, dk != dv, nothing a multiple of 16.
CONFIGS["qwen35_odd"] = dict(
    model_type="qwen3_5_text", vocab_size=261, hidden_size=78, intermediate_size=90, num_hidden_layers=4,
    num_attention_heads=6, num_key_value_heads=3, head_dim=24, rms_norm_eps=1e-6, max_position_embeddings=512,
    linear_conv_kernel_dim=4, linear_num_key_heads=3, linear_num_value_heads=6, linear_key_head_dim=12,
    linear_value_head_dim=20, tie_word_embeddings=False,
    rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.25, mrope_interleaved=True,
                         mrope_section=[1, 1, 1]))
CONFIGS["qwen35_moe"] = dict(CONFIGS["qwen35"], model_type="qwen3_5_moe_text", tie_word_embeddings=False,
                             num_experts=8, num_experts_per_tok=3, moe_intermediate_size=32,
                             shared_expert_intermediate_size=40)
del CONFIGS["qwen35_moe"]["intermediate_size"]

_gemma4 = dict(
    model_type="gemma4_text", vocab_size=256, vocab_size_per_layer_input=256, hidden_size=64, num_attention_heads=4,
    head_dim=16, global_head_dim=32, sliding_window=16, rms_norm_eps=1e-6, hidden_activation="gelu_pytorch_tanh",
    final_logit_softcapping=5.0, pad_token_id=0, tie_word_embeddings=True, max_position_embeddings=512,
    rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=1e4),
                         full_attention=dict(rope_type="proportional", rope_theta=1e6, partial_rotary_factor=0.25)))
_s, _f = "sliding_attention", "full_attention"
CONFIGS["gemma4_e2b"] = dict(
    _gemma4, intermediate_size=96, use_double_wide_mlp=True, num_hidden_layers=8,
    layer_types=[_s, _f, _s, _f, _s, _s, _s, _f], num_kv_shared_layers=4, num_key_value_heads=1,
    hidden_size_per_layer_input=16, attention_k_eq_v=False, enable_moe_block=False)
CONFIGS["gemma4_e4b"] = dict(CONFIGS["gemma4_e2b"], num_key_value_heads=2, use_double_wide_mlp=False)
CONFIGS["gemma4_26b"] = dict(
    _gemma4, intermediate_size=80, num_hidden_layers=4, layer_types=[_s, _s, _f, _f], num_key_value_heads=2,
    num_global_key_value_heads=1, attention_k_eq_v=True, enable_moe_block=True, num_experts=8, top_k_experts=3,
    moe_intermediate_size=24, hidden_size_per_layer_input=0, num_kv_shared_layers=0,
    use_bidirectional_attention="vision")
CONFIGS["gemma4_31b"] = dict(CONFIGS["gemma4_26b"], enable_moe_block=False, intermediate_size=128)
CONFIGS["gemma4_12b"] = dict(CONFIGS["gemma4_31b"], model_type="gemma4_unified_text")
# Everything at once, nothing a multiple of 16, no softcap.
CONFIGS["gemma4_odd"] = dict(
    _gemma4, vocab_size=261, vocab_size_per_layer_input=261, hidden_size=78, intermediate_size=90,
    num_attention_heads=6, head_dim=22, global_head_dim=28, sliding_window=19, num_hidden_layers=5,
    layer_types=[_s, _f, _s, _s, _f], num_kv_shared_layers=2, num_key_value_heads=3, use_double_wide_mlp=False,
    hidden_size_per_layer_input=10, attention_k_eq_v=True, num_global_key_value_heads=2, enable_moe_block=True,
    num_experts=5, top_k_experts=2, moe_intermediate_size=25, final_logit_softcapping=None)

CONFIGS["granite"] = dict(
    model_type="granite", vocab_size=259, hidden_size=72, intermediate_size=88, num_hidden_layers=3,
    num_attention_heads=6, num_key_value_heads=2, head_dim=12, rms_norm_eps=1e-5, max_position_embeddings=512,
    tie_word_embeddings=True, attention_bias=True, mlp_bias=False, embedding_multiplier=6.0,
    attention_multiplier=0.35, residual_multiplier=0.22, logits_scaling=3.0,
    rope_parameters=dict(rope_type="default", rope_theta=1e4))

# What only these have: biases on q, k and v alone; a rotation of a part, from fused tensors; layers without RoPE; soft caps.
CONFIGS["qwen2"] = dict(
    model_type="qwen2", vocab_size=257, hidden_size=70, intermediate_size=90, num_hidden_layers=3,
    num_attention_heads=5, num_key_value_heads=1, head_dim=14, rms_norm_eps=1e-6, max_position_embeddings=512,
    tie_word_embeddings=True, use_sliding_window=True, sliding_window=17, max_window_layers=1,
    layer_types=["full_attention", "sliding_attention", "sliding_attention"],
    rope_parameters=dict(rope_type="default", rope_theta=1e6))
CONFIGS["phi3"] = dict(
    model_type="phi3", vocab_size=259, hidden_size=96, intermediate_size=90, num_hidden_layers=2,
    num_attention_heads=6, num_key_value_heads=3, head_dim=16, rms_norm_eps=1e-5, max_position_embeddings=1024,
    original_max_position_embeddings=256, tie_word_embeddings=False, sliding_window=33, pad_token_id=0,
    rope_parameters=dict(rope_type="longrope", rope_theta=1e4, partial_rotary_factor=0.75,
                         original_max_position_embeddings=256, short_factor=[1.0, 1.1, 1.3, 1.7, 2.0, 2.5],
                         long_factor=[1.0, 2.0, 3.0, 5.0, 9.0, 14.0]))
CONFIGS["smollm3"] = dict(
    model_type="smollm3", vocab_size=261, hidden_size=66, intermediate_size=101, num_hidden_layers=4,
    num_attention_heads=6, num_key_value_heads=2, head_dim=18, rms_norm_eps=1e-6, max_position_embeddings=512,
    tie_word_embeddings=True, pad_token_id=0, no_rope_layer_interval=2,
    rope_parameters=dict(rope_type="default", rope_theta=5e6))
CONFIGS["gemma2"] = dict(
    model_type="gemma2", vocab_size=261, hidden_size=78, intermediate_size=90, num_hidden_layers=3,
    num_attention_heads=6, num_key_value_heads=3, head_dim=22, rms_norm_eps=1e-6, max_position_embeddings=512,
    tie_word_embeddings=True, sliding_window=19, query_pre_attn_scalar=40, attn_logit_softcapping=3.0,
    final_logit_softcapping=5.0, hidden_activation="gelu_pytorch_tanh",
    rope_parameters=dict(rope_type="default", rope_theta=1e4))
CONFIGS["gemma1"] = dict(
    model_type="gemma", vocab_size=256, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=1, head_dim=24, rms_norm_eps=1e-6, max_position_embeddings=512,
    tie_word_embeddings=True, hidden_act="gelu_pytorch_tanh",
    rope_parameters=dict(rope_type="default", rope_theta=1e4))
