"""New Stripe objects in the newest shape, as plain dictionaries. Pure: no state, no clock."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from standins.stripe.shapes import Object, list_object

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_NO_ADDRESS: Object = {
    "city": None,
    "country": None,
    "line1": None,
    "line2": None,
    "postal_code": None,
    "state": None,
}

ZERO_DECIMAL = frozenset(("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf"))
"""Currencies without a minor unit (Stripe's "zero-decimal currencies"; the usual ones)."""


def make_id(prefix: str, seed: str, number: int, *, length: int = 24) -> str:
    """An id like Stripe's: not ordered, the same for the same seed and number."""
    digest = int.from_bytes(hashlib.sha256(f"{seed}/{prefix}/{number}".encode()).digest())
    characters = []
    for _ in range(length - 1):
        digest, index = divmod(digest, 62)
        characters.append(_BASE62[index])
    return f"{prefix}_1{''.join(characters)}"


def customer(
    *,
    id: str,  # noqa: A002 - Stripe's own field name
    created: int,
    livemode: bool,
    name: str | None,
    email: str | None,
    currency: str | None,
    balance: int,
    metadata: Mapping[str, str],
) -> Object:
    return {
        "id": id,
        "object": "customer",
        "address": None,
        "balance": balance,
        "created": created,
        "currency": currency,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": email,
        "invoice_prefix": id[-8:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": livemode,
        "metadata": dict(metadata),
        "name": name,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def product(
    *,
    id: str,  # noqa: A002
    created: int,
    livemode: bool,
    name: str,
    description: str | None,
    metadata: Mapping[str, str],
) -> Object:
    return {
        "id": id,
        "object": "product",
        "active": True,
        "created": created,
        "default_price": None,
        "description": description,
        "images": [],
        "livemode": livemode,
        "marketing_features": [],
        "metadata": dict(metadata),
        "name": name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": created,
        "url": None,
    }


def price(
    *,
    id: str,  # noqa: A002
    created: int,
    livemode: bool,
    product: str,
    amount: int,
    currency: str,
    interval: str | None,
    interval_count: int,
) -> Object:
    recurring = None
    if interval is not None:
        recurring = {
            "interval": interval,
            "interval_count": interval_count,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        }
    return {
        "id": id,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": created,
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": livemode,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": product,
        "recurring": recurring,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if recurring else "one_time",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }


def payment_method(
    *,
    id: str,  # noqa: A002
    created: int,
    livemode: bool,
    type: str,  # noqa: A002
    brand: str,
    last4: str,
    exp_month: int,
    exp_year: int,
    name: str | None,
    email: str | None,
) -> Object:
    """A payment method of any type; a type Stripe may yet invent gets an empty details hash."""
    details: Object
    if type == "card":
        details = {
            "brand": brand,
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": None,
                "cvc_check": "pass",
            },
            "country": "US",
            "display_brand": brand,
            "exp_month": exp_month,
            "exp_year": exp_year,
            "fingerprint": hashlib.sha256(f"{brand}{last4}{exp_year}".encode()).hexdigest()[:16],
            "funding": "credit",
            "generated_from": None,
            "last4": last4,
            "networks": {"available": [brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        }
    elif type == "link":
        details = {"email": email}
    elif type == "sepa_debit":
        details = {
            "bank_code": "37040044",
            "branch_code": "",
            "country": "DE",
            "fingerprint": hashlib.sha256(f"sepa{last4}".encode()).hexdigest()[:16],
            "generated_from": {"charge": None, "setup_attempt": None},
            "last4": last4,
        }
    elif type == "paypal":
        details = {"country": "US", "payer_email": email, "payer_id": f"PAYER{last4}"}
    elif type == "us_bank_account":
        details = {
            "account_holder_type": "individual",
            "account_type": "checking",
            "bank_name": "STRIPE TEST BANK",
            "financial_connections_account": None,
            "fingerprint": hashlib.sha256(f"ach{last4}".encode()).hexdigest()[:16],
            "last4": last4,
            "networks": {"preferred": "ach", "supported": ["ach"]},
            "routing_number": "110000000",
            "status_details": {},
        }
    else:
        details = {}
    return {
        "id": id,
        "object": "payment_method",
        "allow_redisplay": "limited",
        "billing_details": {
            "address": dict(_NO_ADDRESS),
            "email": email,
            "name": name,
            "phone": None,
            "tax_id": None,
        },
        "created": created,
        "customer": None,
        "livemode": livemode,
        "metadata": {},
        "type": type,
        type: details,
    }


def charge_payment_details(method: Mapping[str, Any]) -> Object:
    """``payment_method_details`` of a charge made with this payment method."""
    kind = method["type"]
    details = dict(method.get(kind) or {})
    if kind == "card":
        details = {
            key: details[key]
            for key in (
                "brand",
                "checks",
                "country",
                "exp_month",
                "exp_year",
                "fingerprint",
                "funding",
                "last4",
                "wallet",
            )
        }
        details |= {"network": details["brand"], "three_d_secure": None, "installments": None}
    else:
        for key in ("generated_from", "networks", "status_details"):
            details.pop(key, None)
    return {"type": kind, kind: details}


def payment_intent(
    *,
    id: str,  # noqa: A002
    created: int,
    livemode: bool,
    amount: int,
    currency: str,
    customer: str | None,
    payment_method: str | None,
    method_type: str,
    metadata: Mapping[str, str],
    description: str | None,
    capture_method: str,
    invoice: str | None,
) -> Object:
    return {
        "id": id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": capture_method,
        "client_secret": f"{id}_secret_standin",
        "confirmation_method": "automatic",
        "created": created,
        "currency": currency,
        "customer": customer,
        "description": description,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": livemode,
        "metadata": dict(metadata),
        "next_action": None,
        "on_behalf_of": None,
        "payment_details": {"customer_reference": None, "order_reference": invoice}
        if invoice
        else None,
        "payment_method": payment_method,
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": [method_type],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": "off_session" if invoice else None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
        "_invoice": invoice,
        "_charges": [],
    }


def charge(
    *,
    id: str,  # noqa: A002
    created: int,
    intent: Mapping[str, Any],
    method: Mapping[str, Any],
    status: str,
    captured: bool,
    balance_transaction: str | None,
    decline_code: str | None,
) -> Object:
    failed = status == "failed"
    return {
        "id": id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if captured and status == "succeeded" else 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": balance_transaction,
        "billing_details": dict(method["billing_details"]),
        "calculated_statement_descriptor": "STORE",
        "captured": captured and status != "failed",
        "created": created,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": "card_declined" if failed else None,
        "failure_message": "Your card was declined." if failed else None,
        "fraud_details": {},
        "livemode": intent["livemode"],
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": {
            "advice_code": "try_again_later" if failed else None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "declined_by_network" if failed else "approved_by_network",
            "reason": decline_code if failed else None,
            "risk_level": "normal",
            "seller_message": "The bank declined." if failed else "Payment complete.",
            "type": "issuer_declined" if failed else "authorized",
        },
        "paid": status == "succeeded",
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": charge_payment_details(method),
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None if failed else f"https://pay.stripe.com/receipts/payment/{id}",
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": status,
        "transfer_data": None,
        "transfer_group": None,
        "_invoice": intent["_invoice"],
        "_refunds": [],
    }


def balance_transaction(
    *,
    id: str,  # noqa: A002
    created: int,
    amount: int,
    fee: int,
    currency: str,
    source: str,
    type: str,  # noqa: A002
    description: str | None,
    fee_description: str = "Stripe processing fees",
) -> Object:
    fees = []
    if fee:
        fees.append(
            {
                "amount": fee,
                "application": None,
                "currency": currency,
                "description": fee_description,
                "type": "stripe_fee",
            }
        )
    return {
        "id": id,
        "object": "balance_transaction",
        "amount": amount,
        "available_on": created + 2 * 86_400,
        "balance_type": "payments",
        "created": created,
        "currency": currency,
        "description": description,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": fees,
        "net": amount - fee,
        "reporting_category": "dispute" if type == "adjustment" else type,
        "source": source,
        "status": "pending",
        "type": type,
    }


def refund(
    *,
    id: str,  # noqa: A002
    created: int,
    charge: Mapping[str, Any],
    amount: int,
    status: str,
    reason: str | None,
    balance_transaction: str | None,
) -> Object:
    kind = charge["payment_method_details"]["type"]
    return {
        "id": id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": balance_transaction,
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "customer": charge["customer"],
        "destination_details": {"type": kind, kind: {"type": "refund"} if kind == "card" else {}},
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }


def dispute(
    *,
    id: str,  # noqa: A002
    created: int,
    charge: Mapping[str, Any],
    amount: int,
    reason: str,
    inquiry: bool,
) -> Object:
    details = charge["payment_method_details"]
    return {
        "id": id,
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {
            "customer_name": None,
            "product_description": None,
            "uncategorized_text": None,
        },
        "evidence_details": {
            "due_by": created + 9 * 86_400,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": inquiry,
        "livemode": charge["livemode"],
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "type": "card",
            "card": {
                "brand": details.get("card", {}).get("brand", "visa"),
                "case_type": "inquiry" if inquiry else "chargeback",
                "network_reason_code": "10.4",
            },
        },
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }


def subscription_item(
    *,
    id: str,  # noqa: A002
    created: int,
    subscription: str,
    price: Mapping[str, Any],
    quantity: int,
    period_start: int,
    period_end: int,
) -> Object:
    return {
        "id": id,
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": created,
        "current_period_end": period_end,
        "current_period_start": period_start,
        "discounts": [],
        "metadata": {},
        "price": dict(price),
        "quantity": quantity,
        "subscription": subscription,
        "tax_rates": [],
    }


def subscription(
    *,
    id: str,  # noqa: A002
    created: int,
    livemode: bool,
    customer: str,
    currency: str,
    items: list[Object],
    status: str,
    payment_method: str | None,
    metadata: Mapping[str, str],
    billing_mode: str,
    trial_start: int | None,
    trial_end: int | None,
    missing_payment_method: str,
    anchor: int,
) -> Object:
    return {
        "id": id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": anchor,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"type": billing_mode},
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": created,
        "currency": currency,
        "customer": customer,
        "days_until_due": None,
        "default_payment_method": payment_method,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": list_object(items, f"/v1/subscription_items?subscription={id}"),
        "latest_invoice": None,
        "livemode": livemode,
        "metadata": dict(metadata),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": created,
        "status": status,
        "test_clock": None,
        "transfer_data": None,
        "trial_end": trial_end,
        "trial_settings": {"end_behavior": {"missing_payment_method": missing_payment_method}},
        "trial_start": trial_start,
    }


def invoice(
    *,
    id: str,  # noqa: A002
    created: int,
    subscription: Mapping[str, Any],
    customer: Mapping[str, Any],
    reason: str,
    lines: list[Object],
    number: str,
) -> Object:
    total = sum(line["amount"] for line in lines)
    return {
        "id": id,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Store",
        "amount_due": total,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": total,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": created,
        "currency": subscription["currency"],
        "customer": customer["id"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_tax_exempt": "none",
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "latest_revision": None,
        "lines": list_object(lines, f"/v1/invoices/{id}/lines"),
        "livemode": subscription["livemode"],
        "metadata": {},
        "next_payment_attempt": None,
        "number": number,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(subscription["metadata"]),
                "subscription": subscription["id"],
            },
            "type": "subscription_details",
        },
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": created,
        "period_start": created,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "starting_balance": customer["balance"],
        "statement_descriptor": None,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "test_clock": None,
        "total": total,
        "total_excluding_tax": total,
        "total_taxes": [],
        "webhooks_delivered_at": created,
        "_charge": None,
        "_payment_intent": None,
    }


def invoice_line(
    *,
    id: str,  # noqa: A002
    invoice: str,
    item: Mapping[str, Any],
    start: int,
    end: int,
    amount: int,
    livemode: bool,
) -> Object:
    price = item["price"]
    return {
        "id": id,
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": f"{item['quantity']} × {price['product']}",
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice,
        "livemode": livemode,
        "metadata": {},
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": None,
                "subscription": item["subscription"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"end": end, "start": start},
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": item["quantity"],
        "subtotal": amount,
        "taxes": [],
        "_price": dict(price),
    }


def invoice_payment(
    *,
    id: str,  # noqa: A002
    created: int,
    invoice: Mapping[str, Any],
    intent: str,
    paid: bool,
) -> Object:
    return {
        "id": id,
        "object": "invoice_payment",
        "amount_paid": invoice["amount_due"] if paid else None,
        "amount_requested": invoice["amount_due"],
        "created": created,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": invoice["livemode"],
        "payment": {"payment_intent": intent, "type": "payment_intent"},
        "status": "paid" if paid else "open",
        "status_transitions": {"canceled_at": None, "paid_at": created if paid else None},
    }


def credit_note(
    *,
    id: str,  # noqa: A002
    created: int,
    invoice: Mapping[str, Any],
    amount: int,
    number: str,
    reason: str | None,
    memo: str | None,
) -> Object:
    paid = invoice["status"] == "paid"
    return {
        "id": id,
        "object": "credit_note",
        "amount": amount,
        "amount_shipping": 0,
        "created": created,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": created,
        "invoice": invoice["id"],
        "lines": list_object(
            [
                {
                    "id": f"cnli_{id[3:]}",
                    "object": "credit_note_line_item",
                    "amount": amount,
                    "description": memo or "Credit",
                    "discount_amount": 0,
                    "discount_amounts": [],
                    "invoice_line_item": None,
                    "livemode": invoice["livemode"],
                    "quantity": 1,
                    "tax_rates": [],
                    "taxes": [],
                    "type": "custom_line_item",
                    "unit_amount": amount,
                    "unit_amount_decimal": str(amount),
                }
            ],
            f"/v1/credit_notes/{id}/lines",
        ),
        "livemode": invoice["livemode"],
        "memo": memo,
        "metadata": {},
        "number": number,
        "out_of_band_amount": None,
        "pretax_credit_amounts": [],
        "pdf": f"https://pay.stripe.com/credit_notes/{id}/pdf",
        "post_payment_amount": amount if paid else 0,
        "pre_payment_amount": 0 if paid else amount,
        "reason": reason,
        "refunds": [],
        "shipping_cost": None,
        "status": "issued",
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_excluding_tax": amount,
        "total_taxes": [],
        "type": "post_payment" if paid else "pre_payment",
        "voided_at": None,
    }


def customer_balance_transaction(
    *,
    id: str,  # noqa: A002
    created: int,
    customer: Mapping[str, Any],
    amount: int,
    currency: str,
    type: str,  # noqa: A002
    description: str | None,
    credit_note: str | None,
    invoice: str | None,
) -> Object:
    return {
        "id": id,
        "object": "customer_balance_transaction",
        "amount": amount,
        "checkout_session": None,
        "created": created,
        "credit_note": credit_note,
        "currency": currency,
        "customer": customer["id"],
        "description": description,
        "ending_balance": customer["balance"] + amount,
        "invoice": invoice,
        "livemode": customer["livemode"],
        "metadata": {},
        "type": type,
    }


def checkout_session(
    *,
    id: str,  # noqa: A002
    created: int,
    livemode: bool,
    mode: str,
    amount: int,
    currency: str,
    customer: str | None,
    name: str | None,
    email: str | None,
    metadata: Mapping[str, str],
    method_types: list[str],
    lines: list[Object],
    client_reference_id: str | None,
) -> Object:
    return {
        "id": id,
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "allow_promotion_codes": None,
        "amount_subtotal": amount,
        "amount_total": amount,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None,
        "cancel_url": "https://example.com/cancel",
        "client_reference_id": client_reference_id,
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "created": created,
        "currency": currency,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {"after_submit": None, "submit": None},
        "customer": customer,
        "customer_creation": "if_required" if mode == "payment" else None,
        "customer_details": {
            "address": dict(_NO_ADDRESS),
            "email": email,
            "name": name,
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": [],
        },
        "customer_email": None,
        "discounts": [],
        "expires_at": created + 86_400,
        "invoice": None,
        "livemode": livemode,
        "locale": None,
        "metadata": dict(metadata),
        "mode": mode,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "if_required" if mode == "payment" else "always",
        "payment_method_options": {},
        "payment_method_types": method_types,
        "payment_status": "unpaid",
        "permissions": None,
        "recovered_from": None,
        "setup_intent": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": None,
        "subscription": None,
        "success_url": "https://example.com/success",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted",
        "url": f"https://checkout.stripe.com/c/pay/{id}",
        "_lines": lines,
    }


def session_line(
    *,
    id: str,  # noqa: A002
    price: Mapping[str, Any],
    description: str,
    amount: int,
    quantity: int = 1,
) -> Object:
    return {
        "id": id,
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": description,
        "price": dict(price),
        "quantity": quantity,
    }


def subscription_schedule(
    *,
    id: str,  # noqa: A002
    created: int,
    subscription: Mapping[str, Any],
    phases: list[Object],
    end_behavior: str,
) -> Object:
    return {
        "id": id,
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": dict(subscription["billing_mode"]),
        "canceled_at": None,
        "completed_at": None,
        "created": created,
        "current_phase": {
            "end_date": phases[0]["end_date"],
            "start_date": phases[0]["start_date"],
        },
        "customer": subscription["customer"],
        "default_settings": {
            "billing_cycle_anchor": "automatic",
            "collection_method": "charge_automatically",
            "default_payment_method": None,
        },
        "end_behavior": end_behavior,
        "livemode": subscription["livemode"],
        "metadata": {},
        "phases": phases,
        "released_at": None,
        "released_subscription": None,
        "status": "active",
        "subscription": subscription["id"],
        "test_clock": None,
    }


def card_source(
    *,
    id: str,  # noqa: A002
    customer: str,
    brand: str,
    last4: str,
    exp_month: int,
    exp_year: int,
    name: str | None,
) -> Object:
    """A legacy card attached as a source (ids ``card_…``)."""
    return {
        "id": id,
        "object": "card",
        "brand": brand,
        "country": "US",
        "customer": customer,
        "cvc_check": "pass",
        "dynamic_last4": None,
        "exp_month": exp_month,
        "exp_year": exp_year,
        "fingerprint": hashlib.sha256(f"{brand}{last4}".encode()).hexdigest()[:16],
        "funding": "credit",
        "last4": last4,
        "metadata": {},
        "name": name,
    }
