"""The convolutional position embedding of BEATs, and a quick way through it on a processor."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class PositionConvolution(nn.Conv1d):
    """A grouped convolution over 128 tokens.

    `transform` makes it a product of spectra, block by block (overlap-save; Oppenheim and Schafer, Discrete-Time Signal
    Processing, section 8.7): a twentieth of the arithmetic, in float32 whatever the precision of the rest.
    """

    spectrum: Tensor | None

    def __init__(self, dimension: int, taps: int, groups: int) -> None:
        super().__init__(dimension, dimension, taps, padding=taps // 2, groups=groups)
        self.register_buffer("spectrum", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return float32[B, P, D] of x float32[B, P, D]; an even kernel reaches one token less to the right."""
        if self.spectrum is not None:
            return torch.cat([self._by_spectrum(clip, self.spectrum) for clip in torch.split(x, 1)])
        placed: Tensor = super().forward(x.transpose(1, 2).to(self.weight.dtype))[..., : x.shape[1]]
        return placed.float().transpose(1, 2)

    def transform(self) -> None:
        """Take the spectrum of the kernel, complex64[(taps + 1) groups, inputs, outputs of a group], for `forward`."""
        taps, size = self.kernel_size[0], self.out_channels // self.groups
        kernel = self.weight.detach().view(self.groups, size, size, taps)
        spectrum = torch.fft.rfft(kernel, n=2 * taps).conj()  # what is called a convolution is a correlation
        self.spectrum = spectrum.permute(3, 0, 2, 1).reshape(-1, size, size).resolve_conj()

    def _by_spectrum(self, clip: Tensor, spectrum: Tensor) -> Tensor:
        _, tokens, d = clip.shape
        taps = self.kernel_size[0]
        left = taps // 2
        hop = taps + 1  # of a block of 2 taps the first taps + 1 do not wrap around
        blocks = -(-tokens // hop)
        padded = functional.pad(clip[0], (0, 0, left, blocks * hop + taps - 1 - left - tokens))
        bins = torch.fft.rfft(padded.unfold(0, 2 * taps, hop).transpose(1, 2), dim=1)  # [blocks, taps + 1, D]
        products = torch.bmm(bins.reshape(blocks, len(spectrum), -1).transpose(0, 1), spectrum)
        whole = torch.fft.irfft(products.transpose(0, 1).reshape(blocks, -1, d), n=2 * taps, dim=1)
        placed: Tensor = whole[:, :hop].reshape(1, blocks * hop, d)[:, :tokens]
        return placed if self.bias is None else placed + self.bias
