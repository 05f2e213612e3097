"""A model whose features an on-demand function makes: serving asks with the keys and what the function takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fivefold import InvalidArgument
from fivefold.features.v1 import features_pb2 as pb
from fivefold.features.v1.features_pb2_grpc import FeatureServiceStub
from fivefold.models.package import FeatureSpec
from fivefold.sdk.lookups import Lookup
from tests.features.shop import speed
from tests.serving import fitted
from tests.serving.conftest import PLANES
from tests.serving.test_predict import probability
from tests.serving.world import World


def test_serving_sees_what_the_function_makes_from_the_request(quiet: World, tmp_path: Path) -> None:
    features = quiet.client.features
    features.create_table("planes", PLANES, keys=["carrier"])
    features.write("planes", PLANES)
    features.publish("planes")
    lookup = Lookup(table="planes", features=["delay", "seats", "origin"])
    features.create_spec("made", [lookup], functions=["tests.features.shop.speed"])
    message = FeatureServiceStub(quiet.features.channel).GetFeatureSpec(pb.GetFeatureSpecRequest(name="specs/made"))
    spec = FeatureSpec.of(message)
    assert [key.name for key in spec.keys] == ["carrier", "km", "minutes"]
    fitted.save("lightgbm pair", tmp_path / "package", spec=spec)
    version = quiet.version("made", tmp_path / "package")
    quiet.promote(version)
    with quiet.serve() as server:
        server.until(version)
        asked = {"carrier": ["AA", "B6"], "jet": [True, False], "km": [600.0, 700.0], "minutes": [90.0, 120.0]}
        answer = server.client.serving.predict("made", asked, with_features=True)
        made = speed(np.array(asked["km"]), np.array(asked["minutes"]))
        assert answer.features["speed"] == made.tolist() == [400.0, 350.0]
        frame = PLANES.assign(jet=[1.0, 0.0], speed=made, origin=["JFK", np.nan])[list(fitted.table())]
        np.testing.assert_allclose(answer.outputs["probability"], probability(pd.DataFrame(frame)), atol=1e-6)
        with pytest.raises(InvalidArgument) as caught:
            server.client.serving.predict("made", {name: asked[name] for name in ("carrier", "jet", "km")})
        assert (caught.value.reason, caught.value.facts["column"]) == ("LOOKUP_KEY_MISSING", "minutes")
