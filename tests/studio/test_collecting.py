"""A broker is tried before it is kept, listened at from then on, and forgotten when it is no longer wanted."""

from __future__ import annotations

import pytest

from edgestudio.wire.errors import DeviceError, RecipeError
from tests.runtime.brokers import mosquitto
from tests.studio.test_models import in_studio


def test_a_broker_is_tried_kept_and_forgotten(tmp_path):
    with mosquitto(tmp_path) as port:
        way = {"host": "127.0.0.1", "port": port, "is_tls": False, "fleet": "hall"}

        async def scenario(studio):
            collecting, file = studio.collecting, studio.paths.broker
            with pytest.raises(RecipeError, match="TLS only"):
                await collecting.watch({"host": "broker.example", "is_tls": False})
            with pytest.raises(DeviceError, match="not there or refuses"):
                await collecting.watch({**way, "port": 1})
            assert not file.exists(), "nothing is kept of what does not work"
            assert not collecting.is_listening
            await collecting.watch(way)
            assert collecting.is_listening
            assert collecting.described() == way
            assert file.stat().st_mode & 0o077 == 0, "it may hold a password"
            with pytest.raises(DeviceError):
                await collecting.watch({**way, "port": 1})
            assert collecting.described() == way, "what worked stays"
            await collecting.leave()
            assert not collecting.is_listening
            assert collecting.described() == {}
            await collecting.leave()

        in_studio(scenario)


def test_a_damaged_description_offers_nothing(tmp_path):
    async def scenario(studio):
        studio.paths.broker.parent.mkdir(parents=True, exist_ok=True)
        studio.paths.broker.write_text("host: [")
        assert studio.collecting.described() == {}

    in_studio(scenario)
