"""The same VAE in eager PyTorch with fused Adam: batches by index, or through a DataLoader."""

import sys

from worker import Unit, serve


def set_up() -> tuple[Unit, dict]:
    """Return one epoch of training."""
    import numpy as np
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits

    file, style, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    threads = torch.get_num_threads()
    train = torch.from_numpy(np.load(file)).float() / 255
    num_steps = len(train) // size
    torch.manual_seed(0)

    def layers(*sizes: int) -> nn.Sequential:
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        parts = [part for n, m in pairs for part in (nn.Linear(n, m), nn.Tanh())]
        return nn.Sequential(*parts[:-1])

    encoder, decoder = layers(784, 200, 200, 100), layers(50, 200, 200, 784)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def step(grey: torch.Tensor) -> torch.Tensor:
        x = torch.bernoulli(grey)
        mean, log_scale = encoder(x).chunk(2, dim=1)
        scale = log_scale.exp()
        logits = decoder(mean + scale * torch.randn_like(scale))
        kl = 0.5 * (scale**2 + mean**2 - 1).sum() - log_scale.sum()
        loss = (binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl) / size
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    dataset = torch.utils.data.TensorDataset(train)
    loader = torch.utils.data.DataLoader(dataset, size, shuffle=True, drop_last=True)

    def batches():
        if style == "loader":
            yield from (grey for (grey,) in loader)
        else:
            order = torch.randperm(len(train))[: num_steps * size].view(num_steps, size)
            yield from (train[index] for index in order)

    def epoch() -> dict:
        losses = [step(grey) for grey in batches()]
        return {"steps": num_steps, "loss": float(torch.stack(losses).mean())}

    return epoch, {"threads": threads}


if __name__ == "__main__":
    serve(set_up)
