"""The variables of ``make run``."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.stack import Options, keys_by_mode


def test_without_variables_everything_is_a_stand_in() -> None:
    options = Options.from_environment({})
    assert options == Options(data_dir=Path(".data"), port=8080, seed=200)
    assert (options.stripe_api_base, options.telegram_api_base) == (None, None)
    assert options.stripe_webhook_secret == "whsec_local"


def test_every_variable_is_taken_over() -> None:
    given = {
        "PORT": "9000",
        "DATA_DIR": "/tmp/store",
        "SEED": "0",
        "STRIPE_API_BASE": "http://127.0.0.1:1",
        "STRIPE_SECRET_KEY": "sk_test_1",
        "STRIPE_WEBHOOK_SECRET": "whsec_1",
        "STRIPE_EVENTS": "thin",
        "TELEGRAM_API_BASE": "http://127.0.0.1:2",
        "TELEGRAM_BOT_TOKEN": "1:A",
    }
    assert Options.from_environment(given) == Options(
        data_dir=Path("/tmp/store"),
        port=9000,
        seed=0,
        stripe_api_base="http://127.0.0.1:1",
        stripe_secret_key="sk_test_1",
        stripe_webhook_secret="whsec_1",
        stripe_events="thin",
        telegram_api_base="http://127.0.0.1:2",
        telegram_bot_token="1:A",
    )


def test_a_way_to_send_events_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="none of snapshot, thin, both"):
        Options.from_environment({"STRIPE_EVENTS": "fat"})


def test_a_server_that_is_given_is_asked_even_where_no_key_is() -> None:
    given = {"STRIPE_API_BASE": "http://127.0.0.1:1", "TELEGRAM_API_BASE": "http://127.0.0.1:2"}
    options = Options.from_environment(given)
    assert keys_by_mode(options.stripe_secret_key)
    assert options.telegram_bot_token


@pytest.mark.parametrize(
    ("text", "live", "test"),
    [
        ("sk_live_1,sk_test_1", "sk_live_1", "sk_test_1"),
        ("sk_test_1, sk_live_1", "sk_live_1", "sk_test_1"),
        ("sk_test_1", "sk_test_1", "sk_test_1"),
        ("rk_live_1", "rk_live_1", "rk_live_1"),
        ("anything", "anything", "anything"),
    ],
)
def test_a_single_key_serves_both_modes(text: str, live: str, test: str) -> None:
    assert keys_by_mode(text) == {"live": live, "test": test}
