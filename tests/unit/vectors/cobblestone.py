#!/usr/bin/env python3
"""Known answers for C2SP chunked-encryption, Cobblestone-256, by another implementation.

Written from the specification (https://c2sp.org/chunked-encryption) over the `cryptography` package, and
sharing nothing with src/crypto/. Prints the C header that tests/unit/crypto_message_test.c includes:

    python3 tests/unit/vectors/cobblestone.py > tests/unit/vectors/cobblestone.h
"""
import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CHUNK = 16 * 1024


def seal(key: bytes, salt: bytes, context: bytes, plain: bytes) -> bytes:
    info = b"c2sp.org/chunked-encryption@v1+" + b"AEAD_AES_256_GCM" + b"\x00" + salt + context
    okm = HKDFExpand(algorithm=hashes.SHA512(), length=32 + 12 + 32, info=info).derive(key)
    aead, base_nonce, commitment = AESGCM(okm[:32]), int.from_bytes(okm[32:44], "big"), okm[44:]
    out = salt + commitment
    for index in range(len(plain) // CHUNK + 1):
        nonce = (base_nonce ^ index).to_bytes(12, "big")
        out += aead.encrypt(nonce, plain[index * CHUNK:(index + 1) * CHUNK], None)
    return out


def high_chunk(key: bytes, salt: bytes, index: int, plain: bytes) -> bytes:
    """One chunk far into a message: the counter's upper bytes reach the nonce."""
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + salt
    okm = HKDFExpand(algorithm=hashes.SHA512(), length=76, info=info).derive(key)
    nonce = (int.from_bytes(okm[32:44], "big") ^ index).to_bytes(12, "big")
    return AESGCM(okm[:32]).encrypt(nonce, plain, None)


def c_bytes(data: bytes) -> str:
    return '"' + "".join(f"\\x{b:02x}" for b in data) + '"'


def main() -> None:
    print("/* Made by tests/unit/vectors/cobblestone.py: change that, not this. */\n/* clang-format off */")
    print("static const struct cobblestone_vector {")
    print("    const char *key, *salt, *context; size_t context_len, plain_len;")
    print("    const char *commitment, *sealed_sha256, *last_tag;")
    print("} cobblestone_vectors[] = {")
    lengths = [0, 1, 15, 16, 1024, CHUNK - 1, CHUNK, CHUNK + 1, 20 * 1024, 3 * CHUNK, 100_000]
    contexts = [b"", bytes(range(16)), b"container 7, content 9", bytes(200)]
    for n, length in enumerate(lengths):
        key = hashlib.sha256(b"key %d" % n).digest()
        salt = hashlib.sha256(b"salt %d" % n).digest()[:24]
        context = contexts[n % len(contexts)]
        plain = bytes((i * 7 + (i >> 8) * 13) & 0xFF for i in range(length))
        sealed = seal(key, salt, context, plain)
        print(f"    {{{c_bytes(key)},\n     {c_bytes(salt)},\n     {c_bytes(context)}, {len(context)}, {length},")
        print(f"     {c_bytes(sealed[24:56])},\n     {c_bytes(hashlib.sha256(sealed).digest())},")
        print(f"     {c_bytes(sealed[-16:])}}},")
    print("};")
    key, salt = bytes(range(32)), bytes(range(100, 124))
    print("/* Chunk 2^38 - 1, and chunk 0x1234567890, of a message with key 00..1f, salt 64..7b, no context. */")
    print(f"static const char cobblestone_chunk_last[] = {c_bytes(high_chunk(key, salt, 2**38 - 1, b'the end'))};")
    print(f"static const char cobblestone_chunk_high[] = {c_bytes(high_chunk(key, salt, 0x1234567890, b'somewhere'))};")
    print(f"static const char cobblestone_commitment[] = {c_bytes(seal(key, salt, b'', b'')[24:56])};")


if __name__ == "__main__":
    main()
