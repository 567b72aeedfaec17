"""The I-quants: IQ4 with uneven levels, IQ3 to IQ1 with grids of code words."""

from kernels.reference import iq1, iq2, iq3, iq4

ENCODERS = {**iq4.ENCODERS, **iq3.ENCODERS, **iq2.ENCODERS}
WEIGHTED_ENCODERS = {
    **iq4.WEIGHTED_ENCODERS,
    **iq3.WEIGHTED_ENCODERS,
    **iq2.WEIGHTED_ENCODERS,
    **iq1.WEIGHTED_ENCODERS,
}
DECODERS = {**iq4.DECODERS, **iq3.DECODERS, **iq2.DECODERS, **iq1.DECODERS}
