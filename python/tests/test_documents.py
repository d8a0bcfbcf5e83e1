"""What is written about the package is true: stubs, docstrings, the notebook, the page."""

import inspect
import re
from pathlib import Path

import pytest

import mspipe
from mspipe import _settings, _stubs
from mspipe._written import schema

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "python.md"


def test_the_settings_are_those_of_the_options():
    written = HERE.parent / "mspipe" / "_settings.py"
    assert written.read_text() == _stubs.text(), "python -m mspipe._stubs writes it anew"
    assert set(mspipe.Settings.__annotations__) == set(schema()) - {"data", "columns"}
    assert len(schema()) > 50
    assert Path(mspipe.__file__).with_name("py.typed").is_file()
    assert _settings.__doc__


def test_everything_public_is_documented():
    for name in mspipe.__all__:
        of = getattr(mspipe, name)
        if inspect.isclass(of) or inspect.isfunction(of):
            assert inspect.getdoc(of), name
            members = vars(of) if inspect.isclass(of) else {}
            for member, value in members.items():
                if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, (property, classmethod))):
                    assert inspect.getdoc(value), f"{name}.{member}"
    assert mspipe.__doc__


def test_the_reference_has_all_that_is_public(tmp_path):
    pdoc = pytest.importorskip("pdoc")
    pdoc.pdoc("mspipe", output_directory=tmp_path)
    page = (tmp_path / "mspipe.html").read_text()
    for name in mspipe.__all__:
        assert f'id="{name}"' in page or name == "__version__", name
    for name in mspipe.Settings.__annotations__:
        assert f'id="Settings.{name}"' in page, name
    # A method with its shapes, and a name that became a link.
    assert "float32 <code>[pairs]</code>" in page
    assert '<code><a href="#Trainer">Trainer</a></code>' in page


def test_the_notebook_runs(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(HERE.parent / "notebooks" / "quickstart.ipynb", as_version=4)
    monkeypatch.chdir(tmp_path)
    client = nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output for cell in cells for output in cell.outputs if output.output_type == "execute_result"]
    assert any("text/html" in output.data for output in shown)
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]


@pytest.mark.parametrize(("page", "least"), [(PAGE, 4), (HERE.parent / "README.md", 2)])
def test_the_page_runs(page, least, tmp_path, monkeypatch):
    """Each block of Python on the page, one after the other, but those that need PyTorch."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    run = [block for block in blocks if "torch" not in block]
    assert len(run) >= least
    names = {}
    for block in run:
        exec(compile(block, str(page), "exec"), names)
