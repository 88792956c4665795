"""Layers as hypothesis makes them."""

from itertools import product

from hypothesis import strategies as st

from relay.ids import SPATIAL_LAYERS, TEMPORAL_LAYERS, Layer

layers = st.builds(Layer, st.integers(0, SPATIAL_LAYERS - 1), st.integers(0, TEMPORAL_LAYERS - 1))
"""Any."""


wanted_layers = st.sampled_from(
    [
        tuple(
            Layer(spatial, temporal) for spatial, temporal in enumerate(temporals) if temporal >= 0
        )
        for temporals in product(range(-1, TEMPORAL_LAYERS), repeat=SPATIAL_LAYERS)
        if max(temporals) >= 0
    ]
)
"""What a trunk's demand may say of a source: spatial layers ascending, at least one."""
