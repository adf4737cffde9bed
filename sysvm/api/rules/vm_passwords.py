"""A guest's password, readable for whoever has the private half of one of its SSH keys: RSA with PKCS #1 v1.5, in base64."""

import base64
from collections.abc import Iterable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key


def encrypt(password: str, public: Iterable[str]) -> str:
    """For the first key that is RSA; empty when none is: other keys cannot encrypt."""
    for text in public:
        try:
            key = load_ssh_public_key(text.encode())
        except (ValueError, UnsupportedAlgorithm):
            continue
        if isinstance(key, RSAPublicKey):
            return base64.b64encode(key.encrypt(password.encode(), padding.PKCS1v15())).decode()
    return ""
