/** The list's state as the page's address holds it: the API's own parameter names. */

import type { CustomerQuery, PaymentProvider } from '../api/client';

export interface CustomersSearch {
  search?: string;
  product_id?: string[];
  payment_provider?: PaymentProvider[];
  used_access_code?: boolean;
  transaction_id?: string;
  sort?: 'oldest';
  limit?: number;
  cursor?: string;
}

/** What to set in a search, and with `undefined` what to take out of it. */
export type Change = { [K in keyof CustomersSearch]?: CustomersSearch[K] | undefined };

export const NO_FILTERS: Change = {
  search: undefined,
  product_id: undefined,
  payment_provider: undefined,
  used_access_code: undefined,
  transaction_id: undefined,
};

/** A search with a change made. */
export const changed = (search: CustomersSearch, change: Change): CustomersSearch =>
  Object.fromEntries(
    Object.entries({ ...search, ...change }).filter(([, value]) => value !== undefined),
  );

export const PAGE_SIZES = [25, 50, 100];
export const DEFAULT_LIMIT = 25;
const PROVIDERS: PaymentProvider[] = ['stripe', 'stripe_test'];

type Raw = Record<string, unknown>;

/** `?a=1&b=2&b=3` as lists of texts. */
export function parseSearch(text: string): Raw {
  const raw: Record<string, string[]> = {};
  for (const [name, value] of new URLSearchParams(text)) (raw[name] ??= []).push(value);
  return raw;
}

export function stringifySearch(search: Raw): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(search)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== '') parameters.append(name, String(one));
    }
  }
  const text = parameters.toString();
  return text && `?${text}`;
}

/** What of an address the list understands; anything else is left out, never an error. */
export function customersSearch(raw: Raw): CustomersSearch {
  const all = (name: string): string[] => {
    const value = raw[name];
    const values = Array.isArray(value) ? value : value === undefined ? [] : [value];
    return [...new Set(values.map(String).filter((one) => one !== ''))];
  };
  const first = (name: string): string | undefined => all(name)[0];

  const found: CustomersSearch = {};
  const text = first('search')?.slice(0, 200);
  if (text) found.search = text;
  const products = all('product_id');
  if (products.length > 0) found.product_id = products;
  const providers = PROVIDERS.filter((one) => all('payment_provider').includes(one));
  if (providers.length > 0) found.payment_provider = providers;
  const used = first('used_access_code');
  if (used === 'true' || used === 'false') found.used_access_code = used === 'true';
  const transaction = first('transaction_id')?.slice(0, 64);
  if (transaction) found.transaction_id = transaction;
  if (first('sort') === 'oldest') found.sort = 'oldest';
  const limit = Number(first('limit'));
  if (PAGE_SIZES.includes(limit) && limit !== DEFAULT_LIMIT) found.limit = limit;
  const cursor = first('cursor');
  if (cursor) found.cursor = cursor;
  return found;
}

/** The filters, without order, page size and page. */
export const isFiltered = (search: CustomersSearch): boolean =>
  Object.keys(NO_FILTERS).some((name) => name in search);

export const queryOf = (search: CustomersSearch): CustomerQuery => ({
  ...search,
  limit: search.limit ?? DEFAULT_LIMIT,
});

/** A Transaction ID: 12 letters and digits. */
export const looksLikeTransaction = (text: string): boolean => /^[a-z0-9]{12}$/i.test(text);
