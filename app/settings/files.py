"""The kinds of settings that lie in files, and secrets, which may."""

import re
from pathlib import Path
from typing import Any, ClassVar

from app.domain.secret import MASK, Secret
from app.settings.fields import Scalar


def folder_of(text: str) -> Path:
    """Return where a relative path starts: at its file's folder, or else where we are."""
    return getattr(text, "folder", None) or Path.cwd()


class SecretText(Scalar):
    """A token, password or key."""

    is_secret: ClassVar[bool] = True

    def parse(self, text: str) -> Secret:
        """Hide the text."""
        if re.search(r"[\r\n\x00]", text):
            raise ValueError("holds a line break; a file is named by the same setting with _file")
        return Secret(str(text))

    def write(self, value: Any) -> Any:
        """Mask it."""
        return MASK if value else None


class ExistingFile(Scalar):
    """A file that is there; a relative path starts at the folder of the file that names it."""

    def parse(self, text: str) -> Path:
        """Find the file."""
        path = folder_of(text) / text
        if not path.is_file():
            raise ValueError("is not a file that is there")
        return path

    def write(self, value: Any) -> Any:
        """Write the whole path."""
        return None if value is None else str(value)


class TemplateFile(Scalar):
    """A file that holds a template, kept with its text."""

    def parse(self, text: str) -> tuple[Path, str]:
        """Read the file."""
        path = folder_of(text) / text
        return path, _read(path)

    def read(self, owner: Any) -> Path | None:
        """Return the file."""
        file: Path | None = owner.template_file
        return file

    def write(self, value: Any) -> Any:
        """Write the whole path."""
        return None if value is None else str(value)


class OwnFile(ExistingFile):
    """A file that this program will write."""

    def parse(self, text: str) -> Path:
        """Look whether its folder is there."""
        path = folder_of(text) / text
        if not path.parent.is_dir() or path.is_dir():
            raise ValueError("cannot be written: it needs a folder that is there, and a name")
        return path


class SecretFile(Scalar):
    """A file whose content is a secret, less the line break at its end; ``of`` names the secret."""

    def __init__(self, of: str) -> None:
        super().__init__(f"A file that holds what {of} would hold.", nullable=True)
        self.of = of

    def parse(self, text: str) -> Secret:
        """Read the file."""
        return Secret(_read(folder_of(text) / text).rstrip("\r\n"))


class KeyText(SecretText):
    r"""An RSA private key, as PEM; in a variable its line breaks may be spelled as \n."""

    def parse(self, text: str) -> Secret:
        """Read the key."""
        return _private_key(str(text))


class KeyFile(SecretFile):
    """A file that holds an RSA private key."""

    def parse(self, text: str) -> Secret:
        """Read the file, and the key in it."""
        return _private_key(super().parse(text).reveal())


def _private_key(text: str) -> Secret:
    # Who has no App need not load a library of cryptography.
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    whole = text.replace("\\n", "\n").strip() + "\n"
    try:
        key = load_pem_private_key(whole.encode(), None)
    except TypeError:
        raise ValueError("is locked by a password; the App's key must be one without") from None
    except Exception:  # noqa: BLE001 - whatever the library finds wrong with it
        raise ValueError("is no private key as PEM (-----BEGIN RSA PRIVATE KEY-----)") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("is a private key of another sort than RSA")  # noqa: TRY004 - of a text
    return Secret(whole)


def _read(path: Path) -> str:
    try:
        content = path.read_text("utf-8")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    if not content.strip("\r\n"):
        raise ValueError("is empty")
    return content
