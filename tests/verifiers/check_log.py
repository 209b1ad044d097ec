"""Verifies a published record in a folder with pymerkle and cryptography: check_log.py FOLDER VKEY. Prints its size."""
import base64
import hashlib
import pathlib
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pymerkle import InmemoryTree


def tile_path(n, width):
    parts = [f"{n % 1000:03}"]
    while n >= 1000:
        n //= 1000
        parts.insert(0, f"x{n % 1000:03}")
    return "tile/entries/" + "/".join(parts) + (f".p/{width}" if width < 256 else "")


def main():
    folder, vkey = pathlib.Path(sys.argv[1]), sys.argv[2]
    name, key_id, key = vkey.split("+", 2)
    raw = base64.b64decode(key)
    assert raw[0] == 1 and hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() == key_id
    text, signatures = (folder / "checkpoint").read_bytes().rsplit(b"\n\n", 1)
    text += b"\n"
    dash, signer, signature = signatures.decode().splitlines()[0].split(" ")
    assert (dash, signer) == ("\u2014", name)
    signature = base64.b64decode(signature)
    assert signature[:4].hex() == key_id
    Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signature[4:], text)
    origin, size, root = text.decode().splitlines()[:3]
    assert origin == name
    tree = InmemoryTree(algorithm="sha256")
    size = int(size)
    for n in range(0, size, 256):
        bundle = (folder / tile_path(n // 256, min(256, size - n))).read_bytes()
        for _ in range(min(256, size - n)):
            length = int.from_bytes(bundle[:2], "big")
            tree.append_entry(bundle[2:2 + length])
            bundle = bundle[2 + length:]
    assert tree.get_state() == base64.b64decode(root), "the entries do not have the checkpoint's root"
    print(size)


main()
