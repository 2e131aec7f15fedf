import hashlib
import http.server
import threading

import pytest

from fieldprep import resources
from fieldprep.errors import InputError


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def roots(tmp_path, monkeypatch):
    """A packaged copy and a checkout of our own, and a cache of our own."""
    found = (tmp_path / "packaged", tmp_path / "checkout")
    monkeypatch.setattr(resources, "_ROOTS", found)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(resources.pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv(resources.MIRROR, raising=False)
    return found


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A server of a folder on this machine; gives the folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: Quiet(*args, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv(resources.MIRROR, f"http://127.0.0.1:{server.server_address[1]}/")
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def put(root, name, content=b"weights"):
    path = root / "weights" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def register(root, name, content):
    put(root, "registry.txt", f"{name} {hashlib.sha256(content).hexdigest()}\n\n".encode())


def test_the_packaged_copy_comes_before_the_checkouts(roots):
    checkout = put(roots[1], "a.onnx")
    assert resources.find("weights", "a.onnx") == checkout
    packaged = put(roots[0], "a.onnx")
    assert resources.find("weights", "a.onnx") == packaged


def test_names_are_those_at_hand(roots):
    for name in ("b.onnx", "a.json", "a.onnx", "deep/c.onnx"):
        put(roots[1], name)
    assert resources.names("weights", ".onnx") == ["a.onnx", "b.onnx", "deep/c.onnx"]
    assert resources.names("weights") == ["a.json", "a.onnx", "b.onnx", "deep/c.onnx"]
    assert resources.names("datasets") == []


def test_an_unknown_name_is_refused_with_those_there_are(roots):
    put(roots[1], "a.onnx")
    with pytest.raises(InputError, match=r"^z\.onnx: not in weights \(there is a\.onnx\)$"):
        resources.find("weights", "z.onnx")
    with pytest.raises(InputError, match=r"not in datasets \(there is nothing\)"):
        resources.find("datasets", "z.csv")


def test_a_registered_name_needs_a_mirror(roots):
    register(roots[1], "far.onnx", b"far")
    assert resources.registry("weights") == {"far.onnx": hashlib.sha256(b"far").hexdigest()}
    assert resources.registry("datasets") == {}
    with pytest.raises(InputError, match=r"far\.onnx: not in weights"):
        resources.find("weights", "far.onnx")


def test_a_download_with_the_right_checksum_is_taken_and_kept(roots, mirror):
    register(roots[1], "far.onnx", b"far away")
    served = put(mirror, "far.onnx", b"far away")
    path = resources.find("weights", "far.onnx")
    assert path.read_bytes() == b"far away"
    assert mirror.parent / "cache" in path.parents
    served.unlink()
    assert resources.find("weights", "far.onnx") == path  # the second time nothing is fetched


def test_a_download_with_the_wrong_checksum_is_refused_and_not_kept(roots, mirror):
    register(roots[1], "far.onnx", b"far away")
    served = put(mirror, "far.onnx", b"<html>sorry</html>")
    with pytest.raises(InputError, match=r"far\.onnx: cannot be fetched from http://127") as caught:
        resources.find("weights", "far.onnx")
    assert "\n" not in str(caught.value)
    assert "hash" in str(caught.value)
    served.write_bytes(b"far away")
    assert resources.find("weights", "far.onnx").read_bytes() == b"far away"


def test_a_mirror_that_lacks_it_is_refused(roots, mirror):
    register(roots[1], "far.onnx", b"far away")
    with pytest.raises(InputError, match=r"far\.onnx: cannot be fetched.*404"):
        resources.find("weights", "far.onnx")


def test_a_name_that_is_not_registered_is_not_fetched(roots, mirror):
    put(mirror, "far.onnx")
    with pytest.raises(InputError, match=r"far\.onnx: not in weights"):
        resources.find("weights", "far.onnx")


def test_the_checkout_has_weights():
    assert resources.find("weights", "galaxy.onnx").is_file()
