/** What a purchase means for the person looking at it. Pure. */

import type { Purchase, When } from '../api/client';
import { formatDate } from '../format';
import { t } from '../texts';
import type { Tone } from '../ui/ui';

export const productName = (purchase: Purchase): string =>
  purchase.product?.name ?? t.purchase.unknownProduct;

export const statusTone: Record<Purchase['status'], Tone> = {
  active: 'good',
  trialing: 'info',
  past_due: 'warn',
  unpaid: 'warn',
  paused: 'neutral',
  incomplete: 'warn',
  cancelled: 'neutral',
  expired: 'neutral',
  pending: 'info',
  failed: 'bad',
  unknown: 'warn',
};

export const accessTone: Record<Purchase['access']['state'], Tone> = {
  granted: 'good',
  not_linked: 'neutral',
  revoking: 'warn',
  revoked: 'neutral',
  kept: 'info',
  failed: 'bad',
  no_chats: 'neutral',
};

export const hasEnded = (purchase: Purchase): boolean => purchase.ended_at !== null;

/** A request older than this that Stripe never confirmed was refused: Stripe is asked for days. */
const GIVEN_UP_MS = 3 * 24 * 3600 * 1000;

const CANCELLING = ['cancel_requested', 'cancel_confirmed', 'cancel_refused', 'cancel_withdrawn'];

const newestOfCancelling = (purchase: Purchase) =>
  purchase.history.find((entry) => CANCELLING.includes(entry.event));

/** The entry that says that Stripe refused the owner's last request: the purchase goes on. */
export function refusedCancel(purchase: Purchase): Purchase['history'][number] | null {
  const newest = newestOfCancelling(purchase);
  return !hasEnded(purchase) && newest?.event === 'cancel_refused' ? newest : null;
}

/** What the owner asked for and Stripe has not confirmed yet. */
export function pendingCancel(purchase: Purchase, now = Date.now()): When | null {
  if (hasEnded(purchase)) return null;
  const newest = newestOfCancelling(purchase);
  if (newest?.event !== 'cancel_requested' || newest.actor === 'stripe') return null;
  // While an immediate cancel is under way there is nothing left to choose.
  if (newest.detail === 'immediately') {
    return purchase.cancel_options.length === 0 ? 'immediately' : null;
  }
  if (purchase.cancel_at !== null || now - Date.parse(newest.at) > GIVEN_UP_MS) return null;
  return 'period_end';
}

/** Chats somebody is still being taken out of. */
const revoking = (purchase: Purchase) =>
  purchase.access.chats.filter((chat) => chat.state === 'revoking');

/** Whether something will change by itself soon, so that it is worth looking again. */
export const isUnsettled = (purchase: Purchase): boolean =>
  pendingCancel(purchase) !== null ||
  purchase.access.state === 'revoking' ||
  revoking(purchase).length > 0;

/** The earliest next try of a removal; ISO 8601. */
export function nextTry(purchase: Purchase): string | null {
  const times = revoking(purchase).flatMap((chat) => chat.next_attempt_at ?? []);
  return times.sort()[0] ?? null;
}

export const failures = (purchase: Purchase) =>
  purchase.access.chats.filter((chat) => chat.state === 'failed');

/** When the purchase ends if it is cancelled at the end of the period; ISO 8601. */
export function periodEnd(purchase: Purchase): string | null {
  if (purchase.cancel_at !== null) return purchase.cancel_at;
  if (purchase.status === 'trialing' && purchase.trial_end !== null) return purchase.trial_end;
  return purchase.current_period_end;
}

/** When a purchase that is live now ends by itself, as far as is known; ISO 8601. */
const knownEnd = (purchase: Purchase): string | null => purchase.cancel_at ?? purchase.expires_at;

/** The other purchases through which this one's Telegram account may be in a chat. */
export function grantedElsewhere(
  purchase: Purchase,
  purchases: Purchase[],
  chatId: string,
  at: string | null = null,
): Purchase[] {
  const user = purchase.access.telegram_user_id;
  if (user === null) return [];
  return purchases.filter((other) => {
    const end = knownEnd(other);
    return (
      other.purchase_id !== purchase.purchase_id &&
      other.access.telegram_user_id === user &&
      other.access.state === 'granted' &&
      other.access.chats.some((chat) => chat.chat_id === chatId && chat.state === 'granted') &&
      // Ends before the moment that is asked for: then it grants nothing any more.
      (at === null || end === null || end > at)
    );
  });
}

/** The purchases that keep the person in a chat: the one that was found then, else those of now. */
export function keptBy(
  purchase: Purchase,
  purchases: Purchase[],
  chat: { chat_id: string; detail: string | null },
): Purchase[] {
  const named = purchases.filter((other) => chat.detail?.includes(other.purchase_id));
  return named.length > 0 ? named : grantedElsewhere(purchase, purchases, chat.chat_id);
}

/** A sentence of the server's with the product's name in place of a purchase's id. */
export const withNames = (text: string, purchases: Purchase[]): string =>
  purchases.reduce(
    (now, one) => now.replace(`purchase ${one.purchase_id}`, productName(one)),
    text,
  );

export interface Effect {
  /** Chats the person leaves. */
  leaves: string[];
  keeps: { chatId: string; through: Purchase[] }[];
}

/** Who leaves what when a purchase is cancelled, as far as this customer's purchases tell. */
export function effectOf(purchase: Purchase, purchases: Purchase[], when: When): Effect {
  const at = when === 'period_end' ? periodEnd(purchase) : null;
  const effect: Effect = { leaves: [], keeps: [] };
  for (const { chat_id: chatId, state } of purchase.access.chats) {
    if (state !== 'granted') continue;
    const through = grantedElsewhere(purchase, purchases, chatId, at);
    if (through.length > 0) effect.keeps.push({ chatId, through });
    else effect.leaves.push(chatId);
  }
  return effect;
}

/** `Signals Pro (until 3 Dec 2026)`. */
export function throughName(purchase: Purchase): string {
  const end = knownEnd(purchase);
  const name = productName(purchase);
  return end === null ? name : t.cancel.throughUntil(name, formatDate(end));
}
