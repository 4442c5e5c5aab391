import { keepPreviousData, QueryClient, queryOptions } from '@tanstack/react-query';

import { login } from '../auth/login';
import { api, ApiError, type CustomerPage, type CustomerQuery } from './client';

const SECOND = 1000;

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 15 * SECOND,
      gcTime: 10 * 60 * SECOND,
      retry: (failures, error) => error instanceof ApiError && error.mayPass && failures < 2,
      retryDelay: (failures) => Math.min(500 * 2 ** failures, 4 * SECOND),
    },
  },
});

// A reading answered with 401 loses nothing by leaving for the login; a change does, so the
// window that sent one tells its user instead.
queryClient.getQueryCache().subscribe(({ query, type }) => {
  const { error } = query.state;
  const isRefused = error instanceof ApiError && error.status === 401;
  if (type === 'updated' && isRefused && login.worthAnother) void login.again();
});

/** How many empty pages in a row are read before the reader is asked to go on. */
const MOST_EMPTY_PAGES = 20;

/** A search may be answered with an empty page and a cursor: there is more to look through. */
async function firstWithRows(query: CustomerQuery, signal: AbortSignal): Promise<CustomerPage> {
  let page = await api.customers(query, signal);
  for (let read = 1; page.items.length === 0 && page.next_cursor !== null; read += 1) {
    if (read === MOST_EMPTY_PAGES) break;
    page = await api.customers({ ...query, cursor: page.next_cursor }, signal);
  }
  return page;
}

export const customersQuery = (query: CustomerQuery) =>
  queryOptions({
    queryKey: ['customers', query],
    queryFn: ({ signal }) => firstWithRows(query, signal),
    placeholderData: keepPreviousData,
  });

export const productsQuery = queryOptions({
  queryKey: ['products'],
  queryFn: ({ signal }) => api.products(signal),
  staleTime: 5 * 60 * SECOND,
});

export const customerKey = (customerId: string) => ['customer', customerId];

export const customerQuery = (customerId: string) =>
  queryOptions({
    queryKey: customerKey(customerId),
    queryFn: ({ signal }) => api.customer(customerId, signal),
  });
