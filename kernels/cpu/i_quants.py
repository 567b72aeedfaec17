"""Which kernels of the I-quants there are, as (module, function): without importance, and with it."""

KERNELS = {
    "IQ4_NL": ("iq4", "iq4_nl"),
    "IQ4_XS": ("iq4", "iq4_xs"),
    "IQ3_XXS": ("iq3", "iq3_xxs"),
    "IQ3_S": ("iq3", "iq3_s"),
    "IQ2_S": ("iq2", "iq2_s"),
}
WEIGHTED_KERNELS = {
    "IQ4_NL": ("iq4", "iq4_nl_weighted"),
    "IQ4_XS": ("iq4", "iq4_xs_weighted"),
    "IQ3_XXS": ("iq3", "iq3_xxs_weighted"),
    "IQ3_S": ("iq3", "iq3_s_weighted"),
    "IQ2_XXS": ("iq2", "iq2_xxs_weighted"),
    "IQ2_XS": ("iq2", "iq2_xs_weighted"),
    "IQ2_S": ("iq2", "iq2_s_weighted"),
    "IQ1_S": ("iq1", "iq1_s_weighted"),
    "IQ1_M": ("iq1", "iq1_m_weighted"),
}
