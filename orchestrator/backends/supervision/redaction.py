"""Masks secrets in what a workload says: as they are, and as JSON, URLs, Base64 and single lines would carry them."""

from typing import Any

# Masking a shorter value would mask half of every log, and hide nothing that cannot be guessed.
SHORTEST = 4


def _forms(secret: str) -> set[str]:
    import base64
    import json
    from urllib.parse import quote, quote_plus

    lines = [line for line in secret.splitlines() if len(line) >= 2 * SHORTEST]
    forms = {secret, secret.strip(), *lines}
    for plain in (secret, secret.strip()):
        raw = plain.encode("utf-8", "surrogateescape")
        forms |= {json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1], repr(plain)[1:-1]}
        forms |= {quote(raw), quote(raw, safe=""), quote_plus(raw)}
        # Without the last characters, which depend on what follows the secret.
        forms.add(base64.b64encode(raw).decode()[: len(raw) * 4 // 3])
    return {form for form in forms if len(form) >= SHORTEST}


def _mask(forms: list[str]) -> str:
    """Return `***`, or another sign three times if a form has this one: a mask must not complete a secret."""
    used = set("".join(forms))
    return next(sign for sign in ("*", "#", "~", *map(chr, range(0x2580, 0x2600))) if sign not in used) * 3


class Redactor:
    """Replaces every form of every secret by `***`. Without secrets it changes nothing."""

    def __init__(self, secrets: list[str]) -> None:
        found = {form for secret in secrets if len(secret.strip()) >= SHORTEST for form in _forms(secret)}
        self.forms = sorted(found, key=len, reverse=True)
        self._encoded = [form.encode("utf-8", "surrogateescape") for form in self.forms]
        self.mask = _mask(self.forms)
        self._pattern: Any = None
        if self.forms:
            import re

            self._pattern = re.compile(b"|".join(re.escape(form) for form in self._encoded))

    def raw(self, data: bytes) -> bytes:
        """Return bytes with every secret masked."""
        return self._pattern.sub(self.mask.encode(), data) if self._pattern is not None else data

    def text(self, text: str) -> str:
        """Return text with every secret masked."""
        for form in self.forms:
            text = text.replace(form, self.mask)
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

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what can be said now, masked, and what is left: bytes at the end that may begin a secret."""
        if self._pattern is None:
            return data, b""
        cut = len(data) - self._pending(data)
        for match in self._pattern.finditer(data):
            # A secret that is there as a whole is not cut, though its end may begin another.
            if match.start() < cut < match.end():
                cut = len(data) - self._pending(data[match.end() :])
        return self.raw(data[:cut]), data[cut:]

    def _pending(self, data: bytes) -> int:
        """Return how many bytes at the end are the beginning of a secret, and not the whole of it."""
        longest = 0
        for form in self._encoded:
            start = max(0, len(data) - len(form) + 1)
            while (start := data.find(form[:1], start)) >= 0 and len(data) - start > longest:
                if form.startswith(data[start:]):
                    longest = len(data) - start
                start += 1
        return longest
