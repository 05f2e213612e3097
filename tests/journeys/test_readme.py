"""The README's Python runs as it is printed, against five real services; only its address and its minute are others."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import roc_auc_score

from fivefold.demo.installation import Installation

README = Path(__file__).parents[2] / "README.md"


def example(address: str, minutes: float) -> str:
    """The README's Python block, for another address and budget."""
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert block.count("127.0.0.1:7100") == block.count("minutes=1") == 1
    return block.replace("127.0.0.1:7100", address).replace("minutes=1", f"minutes={minutes}")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_readme_s_example_ends_with_a_model_that_knows_customers_by_their_key(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    with Installation(tmp_path / "services", 0) as installation:
        with redirect_stdout(StringIO()) as printed:
            exec(compile(example(installation.address, 0.2), str(README), "exec"), names)
        with names["client"] as client:
            customers = names["labels"]["customer"]
            answer = client.serving.predict("churn", {"customer": customers.tolist()})
    assert answer.model_version == names["version"] == "models/churn/versions/1"
    assert roc_auc_score(names["labels"]["churned"], answer.outputs["probability"]) > 0.8
    row = customers.tolist().index("c-1041")
    label, probability = (answer.outputs[name][row] for name in ("label", "probability"))
    assert printed.getvalue() == f"Prediction(models/churn/versions/1, label=[{label}], probability=[{probability}])\n"
