/** Dates and amounts. The console's texts are English, so its formats are too. */

const LOCALE = 'en-GB';

/** Makes it when it is first used: a format takes milliseconds, and a page needs one or two. */
function once<T>(make: () => T): () => T {
  let made: T | null = null;
  return () => (made ??= make());
}

const dated = (options: Intl.DateTimeFormatOptions) =>
  once(() => new Intl.DateTimeFormat(LOCALE, options));

const date = dated({ day: 'numeric', month: 'short', year: 'numeric' });
const time = dated({ hour: '2-digit', minute: '2-digit' });
const exact = dated({ dateStyle: 'full', timeStyle: 'long' });

/** `3 Dec 2026`, in the reader's time zone. */
export const formatDate = (iso: string): string => date().format(new Date(iso));

/** `3 Dec 2026, 14:05`. */
export const formatDateTime = (iso: string): string => `${formatDate(iso)}, ${formatTime(iso)}`;

/** `14:05`. */
const formatTime = (iso: string): string => time().format(new Date(iso));

/** `14:05` today, `3 Dec 2026, 14:05` on any other day. */
export function formatSoon(iso: string, now = new Date()): string {
  const sameDay = formatDate(iso) === date().format(now);
  return sameDay ? formatTime(iso) : formatDateTime(iso);
}

/** The full date and time with its zone, for a tooltip. */
export const formatExact = (iso: string): string => exact().format(new Date(iso));

/**
 * How many digits of an amount are decimals. Stripe's minor units, which are not always ISO's:
 * https://docs.stripe.com/currencies#minor-units. ISK and UGX have no decimals any more, but
 * Stripe still counts them in hundredths.
 */
const ZERO_DECIMALS = new Set(
  'bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf'.split(' '),
);
const THREE_DECIMALS = new Set('bhd jod kwd omr tnd'.split(' '));

export function decimalsOf(currency: string): number {
  if (ZERO_DECIMALS.has(currency)) return 0;
  return THREE_DECIMALS.has(currency) ? 3 : 2;
}

/** An amount in minor units with its currency: `-US$29.00`, `JP¥1,200`. */
export function formatMoney(amount: number, currency: string): string {
  const decimals = decimalsOf(currency);
  return new Intl.NumberFormat(LOCALE, {
    style: 'currency',
    currency: currency.toUpperCase(),
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  })
    .format(amount / 10 ** decimals)
    .replace('-', '\u2212');
}

const list = once(() => new Intl.ListFormat(LOCALE, { type: 'conjunction' }));

/** `A, B and C`. */
export const formatList = (parts: string[]): string => list().format(parts);

/** `11/28`, as on the card. */
export const formatExpiry = (month: number, year: number): string =>
  `${String(month).padStart(2, '0')}/${String(year % 100).padStart(2, '0')}`;
