"""Pure rules: what records mean. Knows nothing of AWS, HTTP, Stripe's SDK or Telegram's API."""
