"""Networks of MONAI, unchanged, on parts of their input: outputs, gradients and buffers of one device."""

import pytest
import torch
from operation_cases import EXACT
from parallel_networks import BUILDERS
from rank_pool import get_pool

EVEN = {size: tuple(rank / size for rank in range(size + 1)) for size in (2, 3, 4)}
UNEVEN = {2: (0, 0.3, 1), 3: (0, 0.2, 0.85, 1), 4: (0, 0.1, 0.5, 0.6, 1)}
EMPTY = {2: (0, 0, 1), 3: (0, 0.5, 0.5, 1), 4: (0, 0.4, 0.4, 1, 1)}
NOISY = {"SENet154": 1e-11, "SEResNet50": 1e-11}  # two runs on one device differ by 5e-12 and 7e-12, batch turned
REFUSED = {"Quicknat": "max_pool2d_with_indices"}  # by the name of the operation
SINGLE = {"VQVAE"}  # computes in float32 whatever its input
FLAT_ONLY = {"AHNet", "SENet154", "DenseNet264", "SwinUNETR v2"}  # too large in 3D for the memory of a test machine


def compare(name, dims, bounds, *args, **options):
    size, work = len(bounds) - 1, "parallel_networks:compare_with"
    return get_pool().run(size, work, name, dims, bounds, args, options, timeout=600)


def check(name, dims, bounds, *args, limit=EXACT, **options):
    for rank, result in enumerate(compare(name, dims, bounds, *args, **options)):
        assert result.refused == "", result
        assert result.without_gradient == (), f"rank {rank}"
        assert result.worst < NOISY.get(name, limit), f"rank {rank}: {result}"


QUICK = ["UNet", "UNet batch", "BasicUNet", "DynUNet deep", "SegResNet", "AttentionUnet", "VNet", "AutoencoderKL",
         "SwinUNETR", "UNETR", "ResNet10", "SegResNetDS", "MedNeXt"]  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
def test_exact_in_two_dimensions(name):
    check(name, 2, UNEVEN[3])


@pytest.mark.parametrize("name", ["UNet", "BasicUNet", "DynUNet"])
def test_exact_in_three_dimensions(name):
    check(name, 3, UNEVEN[2], batch=1)


@pytest.mark.parametrize("bounds", [EMPTY[2], EMPTY[3], EMPTY[4]])
@pytest.mark.parametrize("name", ["UNet batch", "ResNet10"])
def test_a_rank_without_rows(name, bounds):
    check(name, 2, bounds)


@pytest.mark.parametrize(("dims", "dim"), [(2, 3), (2, (2, 3)), (3, (2, 4))])
def test_cut_elsewhere_and_along_two_dimensions(dims, dim):
    bounds = UNEVEN[2]
    if isinstance(dim, tuple):
        results = get_pool().run(4, "parallel_networks:compare", "UNet batch", dims, bounds, dim)
    else:
        results = get_pool().run(2, "parallel_networks:compare", "UNet batch", dims, bounds, dim)
    assert all(result.worst < EXACT and not result.without_gradient for result in results), results


def test_not_training():
    check("UNet batch", 2, UNEVEN[2], training=False)


@pytest.mark.parametrize("name", ["UNet", "SegResNet", "VQVAE"])
def test_single_precision(name):
    check(name, 2, UNEVEN[2], limit=1e-5, dtype=torch.float32)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    for result in compare(name, 2, EVEN[2], dtype=torch.float32):
        assert REFUSED[name] in result.refused
        assert " in module " in result.refused


@pytest.mark.parametrize("optimiser", ["SGD", "AdamW"])
@pytest.mark.parametrize(("size", "layout"), [(2, "space"), (3, "space"), (4, "data x space")])
def test_ten_training_steps_give_the_same_losses(optimiser, size, layout):
    differences = get_pool().run(size, "parallel_networks:loss_curves", "UNet", optimiser, layout)
    assert max(differences) < EXACT


@pytest.mark.slow
@pytest.mark.parametrize("bounds", [EVEN[2], UNEVEN[3], EMPTY[4]], ids=["even", "uneven", "empty"])
@pytest.mark.parametrize("name", [name for name in BUILDERS if name not in {*REFUSED, *SINGLE}])
def test_every_network_in_two_dimensions(name, bounds):
    heavy = name == "SENet154" and bounds == EMPTY[4]  # four of it, with their references, need 24 GB
    check(name, 2, EMPTY[3] if heavy else bounds)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BUILDERS if name not in {*REFUSED, *SINGLE, *FLAT_ONLY}])
def test_every_network_in_three_dimensions(name):
    check(name, 3, UNEVEN[2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("UNet", EVEN[4]), ("BasicUNet", UNEVEN[3]), ("DynUNet", EVEN[4]), ("SegResNet", UNEVEN[3]), ("VNet", EVEN[4]),
        ("DenseNet121", UNEVEN[3]), ("SwinUNETR", UNEVEN[3]),
    ],
)  # fmt: skip
def test_more_ranks_in_three_dimensions(name, bounds):
    check(name, 3, bounds, batch=1 if name == "SwinUNETR" else 2)
