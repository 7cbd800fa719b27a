"""Images come from files or from scikit-learn's cache, and every damage is named."""

import hashlib
import io
import sys
from urllib.error import URLError

import numpy as np
import pytest
from sklearn.utils import Bunch

from sklearn_brm import datasets
from sklearn_brm.datasets import fetch_cifar10, fetch_mnist


@pytest.fixture
def digits():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (20, 28, 28), dtype=np.uint8), rng.integers(0, 10, 20, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, digits):
    """A folder in the layout of the image archives."""
    Image = pytest.importorskip("PIL.Image")
    X, y = digits
    for split in ("train", "test"):
        np.savez_compressed(tmp_path / f"mnist_{split}.npz", X=X, y=y)
    files = []
    for i in range(5):
        buffer = io.BytesIO()
        Image.new("RGB", (32, 32), (40 * i, 100, 255)).save(buffer, "JPEG", quality=95)
        files.append(np.frombuffer(buffer.getvalue(), dtype=np.uint8))
    offsets = np.concatenate([[0], np.cumsum([len(file) for file in files])])
    np.savez(tmp_path / "cifar10_jpeg_test.npz", jpeg=np.concatenate(files), offsets=offsets, y=y[:5])
    return tmp_path


class TestLocalFiles:
    """Archives on disk."""

    def test_pixels_are_scaled_and_labels_are_integers(self, folder, digits):
        X, y = fetch_mnist(folder, split="test")
        assert X.dtype == np.float32
        assert y.dtype == np.int64
        np.testing.assert_array_equal(X, digits[0].reshape(20, 784).astype(np.float32) / 255)
        np.testing.assert_array_equal(y, digits[1])

    @pytest.mark.parametrize("n_samples", [1, 7, 1000])
    def test_the_first_rows_are_taken(self, folder, digits, n_samples):
        X, y = fetch_mnist(folder / "mnist_train.npz", n_samples=n_samples)
        np.testing.assert_array_equal(X, fetch_mnist(folder)[0][:n_samples])
        np.testing.assert_array_equal(y, digits[1][:n_samples])

    @pytest.mark.parametrize("n_samples", [None, 3])
    def test_jpeg_images_are_decoded_with_colours_last(self, folder, n_samples):
        X, y = fetch_cifar10(str(folder), split="test", n_samples=n_samples)
        assert X.shape == (n_samples or 5, 3072)
        assert len(y) == len(X)
        for i, image in enumerate(X.reshape(-1, 32, 32, 3)):
            np.testing.assert_allclose(
                image, np.broadcast_to([40 * i / 255, 100 / 255, 1], (32, 32, 3)), atol=0.02
            )

    def test_pixels_of_colour_images_do_as_well(self, tmp_path):
        X = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 32, 32, 3)
        np.savez(tmp_path / "cifar10_train.npz", X=X, y=[3, 9])
        np.testing.assert_array_equal(fetch_cifar10(tmp_path)[0], X.reshape(2, -1).astype(np.float32) / 255)

    def test_the_image_archives_are_read(self, image_folder):
        X, y = fetch_cifar10(image_folder, split="test", n_samples=50)
        assert X.shape == (50, 3072)
        assert 0 <= X.min() < 0.1
        assert 0.9 < X.max() <= 1
        assert set(y) <= set(range(10))
        assert fetch_mnist(image_folder, split="test")[0].shape == (10_000, 784)

    def test_the_right_digest_passes_and_another_is_an_error(self, folder):
        path = folder / "mnist_test.npz"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert len(fetch_mnist(path, sha256=digest)[0]) == 20
        with pytest.raises(
            ValueError, match=f"must be the digest of .*, which is {digest}; the file is truncated"
        ):
            fetch_mnist(path, sha256="0" * 64)


class TestDamage:
    """What is wrong with a file is said, with its name."""

    def test_a_missing_file_or_folder_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"There is no file or folder .*nowhere"):
            fetch_mnist(tmp_path / "nowhere")
        with pytest.raises(FileNotFoundError, match=r"holds no cifar10_jpeg_test.npz or cifar10_test.npz"):
            fetch_cifar10(tmp_path, split="test")

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
    def test_a_truncated_file_is_named(self, folder, share):
        path = folder / "mnist_train.npz"
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=r"mnist_train.npz is not a whole .npz archive \(\d+ bytes\)"):
            fetch_mnist(folder)

    def test_a_changed_byte_breaks_the_checksum(self, folder):
        path = folder / "mnist_train.npz"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"is not a whole .npz archive"):
            fetch_mnist(folder)

    @pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\x93NUMPY"])
    def test_another_kind_of_file_is_named(self, tmp_path, content):
        (tmp_path / "mnist_train.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"is not a whole .npz archive"):
            fetch_mnist(tmp_path)

    def test_a_plain_array_is_not_an_archive(self, tmp_path):
        np.save(tmp_path / "X.npy", np.zeros(3))
        with pytest.raises(ValueError, match=r"is not a whole .npz archive"):
            fetch_mnist(tmp_path / "X.npy")

    def test_other_arrays_are_listed(self, tmp_path):
        np.savez(tmp_path / "mnist_train.npz", images=np.zeros(3), y=np.zeros(3))
        with pytest.raises(
            ValueError, match=r"must hold the arrays 'y' and 'X'.* It holds \['images', 'y'\]"
        ):
            fetch_mnist(tmp_path)

    def test_the_other_data_set_is_recognised(self, folder):
        with pytest.raises(
            ValueError, match=r"is not CIFAR-10: .* \(32, 32, 3\). Got uint8 of shape \(28, 28\)"
        ):
            fetch_cifar10(folder / "mnist_train.npz")

    def test_images_and_labels_must_be_as_many(self, tmp_path, digits):
        np.savez(tmp_path / "mnist_train.npz", X=digits[0], y=digits[1][:3])
        with pytest.raises(ValueError, match="holds 20 images and 3 labels"):
            fetch_mnist(tmp_path)

    def test_damaged_jpeg_files_are_named(self, folder):
        path = folder / "cifar10_jpeg_test.npz"
        with np.load(path) as archive:
            jpeg, offsets, y = archive["jpeg"].copy(), archive["offsets"], archive["y"]
        np.savez(path, jpeg=jpeg[:-5], offsets=offsets, y=y)
        with pytest.raises(ValueError, match="its offsets do not fit"):
            fetch_cifar10(path)
        jpeg[offsets[1] : offsets[1] + 20] = 0
        np.savez(path, jpeg=jpeg, offsets=offsets, y=y)
        with pytest.raises(ValueError, match=r"Image 1 of .* is damaged"):
            fetch_cifar10(path)

    def test_without_pillow_the_error_says_what_to_install(self, folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "PIL", None)
        with pytest.raises(ImportError, match="pip install pillow"):
            fetch_cifar10(folder, split="test")


class TestOpenML:
    """scikit-learn's cache and download; nothing here touches a network."""

    def test_nothing_is_downloaded_unasked(self, tmp_path, monkeypatch):
        monkeypatch.setattr(datasets, "fetch_openml", lambda **kwargs: pytest.fail("downloaded"))
        with pytest.raises(
            OSError, match=r"CIFAR-10 is not in scikit-learn's cache .* download_if_missing=True .*650 MB"
        ):
            fetch_cifar10(data_home=tmp_path)

    def test_splits_are_cut_and_colours_put_last(self, tmp_path, monkeypatch):
        small = datasets._ImageSet(**(vars(datasets._CIFAR10) | {"n_train": 3}))
        monkeypatch.setattr(datasets, "_CIFAR10", small)
        planes = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32))
        asked = {}

        def fetch(**kwargs):
            asked.update(kwargs)
            return Bunch(
                data=planes.reshape(5, -1).astype(float), target=np.array(list("01234"), dtype=object)
            )

        monkeypatch.setattr(datasets, "fetch_openml", fetch)
        X, y = fetch_cifar10(split="test", data_home=tmp_path, download_if_missing=True)
        assert asked["data_id"] == 40927
        np.testing.assert_array_equal(y, [3, 4])
        for image, plane in zip(X.reshape(2, 32, 32, 3), planes[3:]):
            for colour in range(3):
                np.testing.assert_allclose(image[:, :, colour], plane[colour] / 255, rtol=1e-6)

    def test_what_is_in_the_cache_is_read_without_asking(self, tmp_path, monkeypatch):
        entry = tmp_path / "openml" / "openml.org" / "api" / "v1" / "json" / "data" / "554.gz"
        entry.parent.mkdir(parents=True)
        entry.touch()
        bunch = Bunch(data=np.zeros((70_000, 784), dtype=np.uint8), target=np.full(70_000, "7"))
        monkeypatch.setattr(datasets, "fetch_openml", lambda **kwargs: bunch)
        X, y = fetch_mnist(split="test", n_samples=5, data_home=tmp_path)
        assert X.shape == (5, 784)
        assert list(y) == [7] * 5

    @pytest.mark.parametrize(
        ("error", "kind", "message"),
        [
            (URLError("no route"), OSError, "OpenML could not be reached for MNIST: .*no route.* path="),
            (
                ValueError("md5 checksum"),
                ValueError,
                "copy of MNIST .* cannot be used: md5 checksum. Delete it",
            ),
        ],
    )
    def test_trouble_with_openml_says_what_to_do(self, tmp_path, monkeypatch, error, kind, message):
        def fail(**kwargs):
            raise error

        monkeypatch.setattr(datasets, "fetch_openml", fail)
        with pytest.raises(kind, match=message):
            fetch_mnist(data_home=tmp_path, download_if_missing=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "validation"}, "'split' parameter of fetch_mnist must be 'train' or 'test'"),
        (
            {"n_samples": 0},
            r"'n_samples' parameter of fetch_mnist must be an int in \[1, inf\) or None. Got 0",
        ),
        (
            {"download_if_missing": "yes"},
            "'download_if_missing' parameter of fetch_mnist must be True or False",
        ),
    ],
)
def test_bad_parameters_say_the_rule(arguments, message):
    with pytest.raises(ValueError, match=message):
        fetch_mnist(**arguments)
