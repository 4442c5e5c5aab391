import createClient from 'openapi-fetch';

import { login } from '../auth/login';
import type { components, paths } from './schema';

type Schemas = components['schemas'];
export type Customer = Schemas['Customer'];
export type CustomerDetail = Schemas['CustomerDetail'];
export type CustomerPage = Schemas['CustomerPage'];
export type Product = Schemas['Product'];
export type Purchase = Schemas['Purchase'];
export type PurchaseChange = Schemas['PurchaseChange'];
export type Transaction = Schemas['Transaction'];
export type TransactionPage = Schemas['TransactionPage'];
export type PaymentMethod = Schemas['PaymentMethod'];
export type PaymentProvider = Schemas['PaymentProvider'];
export type When = Schemas['When'];

/** An answer of the API that is no success, or none at all. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  /**
   * @param status HTTP status; 0 where no answer was had
   * @param code the problem's `code`; the status as text where the gateway answered
   * @param detail the problem's own sentence
   * @param requestId what support asks for
   */
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string | null = null,
    readonly requestId: string | null = null,
  ) {
    super(code);
  }

  /** Whether the same request may succeed a moment later. */
  get mayPass(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

const client = createClient<paths>({
  baseUrl: window.location.origin,
  // The API reads `product_id=a&product_id=b`, as the page's own address does.
  querySerializer: { array: { style: 'form', explode: true } },
});

client.use({
  async onRequest({ request }) {
    request.headers.set('Authorization', `Bearer ${await login.token()}`);
    return request;
  },
});

interface Answer<Body> {
  data?: Body;
  error?: unknown;
  response: Response;
}

async function answered<Body>(asked: Promise<Answer<Body>>): Promise<Answer<Body>> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    if (error instanceof ApiError) throw error;
    throw new ApiError(0, 'unreachable');
  }
}

async function bodyOf<Body>(asked: Promise<Answer<Body>>): Promise<Body> {
  const { data, error, response } = await answered(asked);
  if (response.ok && data !== undefined) return data;
  const problem: Partial<Schemas['Problem']> =
    typeof error === 'object' && error !== null ? error : {};
  throw new ApiError(
    response.status,
    problem.code ?? String(response.status),
    problem.detail ?? null,
    problem.request_id ?? null,
  );
}

export type CustomerQuery = NonNullable<paths['/v1/customers']['get']['parameters']['query']>;
export type CancelRequest = Schemas['CancelRequest'];

export const api = {
  customers: (query: CustomerQuery, signal: AbortSignal) =>
    bodyOf(client.GET('/v1/customers', { params: { query }, signal })),

  customer: (customerId: string, signal: AbortSignal) =>
    bodyOf(
      client.GET('/v1/customers/{customer_id}', {
        params: { path: { customer_id: customerId } },
        signal,
      }),
    ),

  purchases: (customerId: string, cursor: string, signal: AbortSignal) =>
    bodyOf(
      client.GET('/v1/customers/{customer_id}/purchases', {
        params: { path: { customer_id: customerId }, query: { cursor } },
        signal,
      }),
    ),

  transactions: (customerId: string, cursor: string, signal: AbortSignal) =>
    bodyOf(
      client.GET('/v1/customers/{customer_id}/transactions', {
        params: { path: { customer_id: customerId }, query: { cursor } },
        signal,
      }),
    ),

  products: (signal: AbortSignal) => bodyOf(client.GET('/v1/products', { signal })),

  /** A repeat with the same key and body gets the first answer and changes nothing twice. */
  cancel: (customerId: string, purchaseId: string, body: CancelRequest, key: string) =>
    bodyOf(
      client.POST('/v1/customers/{customer_id}/purchases/{purchase_id}/cancel', {
        params: {
          path: { customer_id: customerId, purchase_id: purchaseId },
          header: { 'Idempotency-Key': key },
        },
        body,
      }),
    ),

  retryRevocation: (customerId: string, purchaseId: string, key: string) =>
    bodyOf(
      client.POST('/v1/customers/{customer_id}/purchases/{purchase_id}/revocation', {
        params: {
          path: { customer_id: customerId, purchase_id: purchaseId },
          header: { 'Idempotency-Key': key },
        },
      }),
    ),
};
