"""Masks secrets in what a workload says: as they are, and as JSON, URLs, Base64 and single lines would carry them."""

from typing import Any

MASK = "***"
# Masking a shorter value would mask half of every log, and hide nothing that cannot be guessed.
SHORTEST = 4


def _forms(secret: str) -> set[str]:
    import base64
    import json
    from urllib.parse import quote, quote_plus

    lines = [line for line in secret.splitlines() if len(line) >= 2 * SHORTEST]
    forms = {secret, secret.strip(), *lines}
    for plain in (secret, secret.strip()):
        forms |= {json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1], repr(plain)[1:-1]}
        forms |= {quote(plain), quote(plain, safe=""), quote_plus(plain)}
        # Without the last characters, which depend on what follows the secret.
        forms.add(base64.b64encode(plain.encode("utf-8", "surrogateescape")).decode()[: len(plain.encode()) * 4 // 3])
    return {form for form in forms if len(form) >= SHORTEST}


class Redactor:
    """Replaces every form of every secret by `***`. Without secrets it changes nothing."""

    def __init__(self, secrets: list[str]) -> None:
        found = {form for secret in secrets if len(secret.strip()) >= SHORTEST for form in _forms(secret)}
        self.forms = sorted(found, key=len, reverse=True)
        self._encoded = [form.encode("utf-8", "surrogateescape") for form in self.forms]
        self._pattern: Any = None
        if self.forms:
            import re

            self._pattern = re.compile(b"|".join(re.escape(form) for form in self._encoded))

    def raw(self, data: bytes) -> bytes:
        """Return bytes with every secret masked."""
        return self._pattern.sub(MASK.encode(), data) if self._pattern is not None else data

    def text(self, text: str) -> str:
        """Return text with every secret masked."""
        for form in self.forms:
            text = text.replace(form, MASK)
        return text

    def value(self, value: Any) -> Any:
        """Return a JSON value with every secret masked in its strings, keys included."""
        if not self.forms:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return value

    def pending(self, data: bytes) -> int:
        """Return how many bytes at the end may be the beginning of a secret."""
        longest = 0
        for form in self._encoded:
            for length in range(min(len(form) - 1, len(data)), longest, -1):
                if data.endswith(form[:length]):
                    longest = length
                    break
        return longest
