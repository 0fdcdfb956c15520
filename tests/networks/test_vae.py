"""The autoencoder's layers are those of the released code, at each size."""

import pytest
import torch
from torch import nn

from alpl.errors import ConfigError
from alpl.networks.vae import CodeDiscriminator, Vae


def test_layers_at_32_pixels_are_the_released_ones():
    with torch.device("meta"):  # shapes alone
        vae = Vae(3, 32)
    convolutions = [part for part in vae.encoder.modules() if isinstance(part, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(3, 128), (128, 256), (256, 512), (512, 1024)]
    assert all((c.kernel_size, c.stride, c.padding, c.bias) == ((4, 4), (2, 2), (1, 1), None) for c in convolutions)
    assert (vae.mu.in_features, vae.mu.out_features, vae.logvar.out_features) == (1024 * 2 * 2, 32, 32)
    back = [part for part in vae.decoder.modules() if isinstance(part, nn.ConvTranspose2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0]) for c in back] == [
        (1024, 512, 4), (512, 256, 4), (256, 128, 4), (128, 3, 1),
    ]  # fmt: skip
    assert vae.decoder[0].out_features == 1024 * 4 * 4
    norms = [part for part in vae.modules() if isinstance(part, nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [128, 256, 512, 1024, 512, 256, 128]
    layers = [part for part in CodeDiscriminator().modules() if isinstance(part, nn.Linear)]
    assert [(part.in_features, part.out_features) for part in layers] == [(32, 512), (512, 512), (512, 1)]


@pytest.mark.parametrize(
    ("size", "channels", "widths"),
    [(32, 3, (4, 4, 8, 8)), (64, 3, (4, 4, 8, 8)), (256, 3, (2, 2, 4, 4, 8)), (16, 1, (4, 8))],
)
def test_shapes_at_each_size(size, channels, widths):
    torch.manual_seed(0)
    vae = Vae(channels, size, widths=widths, latent=6, bias=size == 256)
    images = torch.rand(2, channels, size, size) * 2 - 1
    again, mu, logvar = vae(images)
    assert again.shape == images.shape and mu.shape == logvar.shape == (2, 6)
    assert (vae.encoder[0][0].bias is not None) == (size == 256)
    assert CodeDiscriminator(6, 5)(mu).shape == (2,)


def test_a_code_is_drawn_with_its_own_deviation():
    torch.manual_seed(0)
    vae = Vae(1, 4, widths=(2,), latent=1).eval()
    nn.init.zeros_(vae.logvar.weight)
    drawn = []
    vae.decoder = nn.Sequential(nn.Identity())
    for logvar in (-60.0, 4.0):
        nn.init.constant_(vae.logvar.bias, logvar)
        codes, mu, _ = vae(torch.zeros(4000, 1, 4, 4))
        drawn.append(float((codes - mu).detach().std()))
    assert drawn[0] < 1e-6 and 7.1 < drawn[1] < 7.7  # e ** (4 / 2) = 7.39


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 36}, r"size must be a multiple of 2 \*\* 4 for 4 widths, got 36"),
        ({"size": 0}, "size must be a multiple"),
        ({"size": 32, "widths": ()}, "widths and latent must be >= 1"),
        ({"size": 32, "latent": 0}, "widths and latent must be >= 1"),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Vae(3, **values)


def test_a_discriminator_needs_numbers_between():
    with pytest.raises(ConfigError, match="hidden must be >= 1, got 0"):
        CodeDiscriminator(2, 0)
