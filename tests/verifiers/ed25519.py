"""Ed25519 in plain integers, from the formulas of RFC 8032, sections 5.1.2 to 5.1.7.

Slow and not constant in time: made to be read and to verify public data, never to sign with a key that matters.
"""

import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def add(a, b):
    """Adds two points in extended homogeneous coordinates (X, Y, Z, T), section 5.1.4."""
    one, two = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    three, four = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = two - one, four - three, four + three, two + one
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar, point):
    """A multiple of a point, by doubling and adding."""
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def encode(point):
    """32 bytes: y, and the lowest bit of x above it, section 5.1.2."""
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(data):
    """The point of 32 bytes, or None when there is none, section 5.1.3."""
    number = int.from_bytes(data, "little")
    y, sign = number & (1 << 255) - 1, number >> 255
    if len(data) != 32 or y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = x if x & 1 == sign else P - x
    return (x, y, 1, x * y % P)


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def hash_to_scalar(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


def verify(public, message, signature):
    """Whether a signature is good, section 5.1.7, by the equation without the cofactor; keys of small order are not."""
    key, scalar = decode(public), int.from_bytes(signature[32:], "little")
    if key is None or len(signature) != 64 or scalar >= ORDER or encode(multiply(8, key)) == encode(NEUTRAL):
        return False
    challenge = hash_to_scalar(signature[:32], public, message)
    # R = [S]B - [k]A, compared as bytes, so that R has one spelling.
    return encode(add(multiply(scalar, BASE), multiply(ORDER - challenge, key))) == signature[:32]


def sign(seed, message):
    """The signature of section 5.1.6, for logs that tests make; gives public key and signature."""
    digest = hashlib.sha512(seed).digest()
    secret = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
    public, nonce = encode(multiply(secret, BASE)), hash_to_scalar(digest[32:], message)
    commitment = encode(multiply(nonce, BASE))
    scalar = (nonce + hash_to_scalar(commitment, public, message) * secret) % ORDER
    return public, commitment + scalar.to_bytes(32, "little")
