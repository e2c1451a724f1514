"""How good pictures are: one metric a file; images → features → statistics → distance.

Images are (B, C, H, W) floats in [0, 1]. Metrics of a pair (``psnr``, ``ssim``, ``lpips``) give a float64 (B,).
Metrics of two sets stream their features (``inception``, ``prior_features``) into ``statistics`` (for
``frechet``) or ``sample`` (for ``kid``), in memory that does not grow with the number of images.
``availability`` tells what can be had here. Import from the modules: ``from benchmarks.metrics.psnr import
psnr``; none needs torch-fidelity, lpips or scikit-image until it is used.
"""
